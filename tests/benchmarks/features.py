"""What the feature store costs and saves, measured in one run; prints ratios.

    python tests/benchmarks/features.py [--texts entities.tsv] [--images 400]

Extraction against a bare loop over the same encoder, a second run, one per cent more entities; first and later reads.
Without ``--texts`` (columns key, name, description) made-up texts stand in.
"""

import argparse
import csv
import io
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.encoders.images import decode
from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.contents import sources
from mmkgc.components.extract.extract import make_features
from mmkgc.components.kge.graph import Graph, Vocabulary, no_triples
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, open_storage
from mmkgc.feature_store.writer import Entity, FeatureWriter

Texts = list[tuple[str, str, str]]


def main() -> None:
    """Run all measurements in a temporary home."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--images", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["MMKGC_HOME"] = home
        storage = open_storage()
        measure_reading(storage)
        measure_texts(read_texts(arguments.texts) if arguments.texts else made_up_texts(2000), storage)
        measure_images(arguments.images, storage)


def measure_texts(texts: Texts, storage: Storage) -> None:
    """SBERT: the bare loop, the step, the step again, and one per cent more."""
    config = ExtractConfig()
    encoder, size = create(config.encoder("textual")), config.batch_size
    graph = graph_of(texts, [()] * len(texts))
    items = sorted((source.items[0] for source in sources(graph, "textual") if source.items), key=len, reverse=True)
    items = list(dict.fromkeys(items))
    encoder.encode(items[:1])
    bare, bare_cpu = timed(lambda: [encoder.encode(items[i : i + size]) for i in range(0, len(items), size)])
    first, first_cpu = timed(lambda: make_features(graph, "textual", config, storage))
    second, _ = timed(lambda: make_features(graph, "textual", config, storage))
    more = texts[: len(texts) // 100]
    added = [(f"new {key}", f"new {name}", text) for key, name, text in more]
    larger = graph_of(texts + added, [()] * (len(texts) + len(added)))
    third, _ = timed(lambda: make_features(larger, "textual", config, storage))
    print(f"texts: {len(items)} distinct of {len(texts)}, {len(items) / first:.0f} a second in {first:.1f} s")
    print(f"texts: step at {100 * bare / first:.1f} % of a bare loop (CPU time {100 * bare_cpu / first_cpu:.1f} %)")
    print(f"texts: second run {first / second:.0f} times faster ({1000 * second:.0f} ms)")
    print(f"texts: 1 % more entities take {100 * third / first:.1f} % of the first run")


def measure_images(count: int, storage: Storage) -> None:
    """VGG-16, random weights: decoding beside the network against one after the other."""
    config = ExtractConfig()
    encoder = create(config.encoder("visual"))
    blobs = [storage.put_blob(picture(number)) for number in range(count)]
    graph = graph_of([(f"e{number}", "", "") for number in range(count)], [(blob,) for blob in blobs])
    encoder.encode([Image.new("RGB", (300, 200))])

    def bare_loop() -> None:
        for start in range(0, count, config.batch_size):
            encoder.encode([decode(storage.blob(blob)) for blob in blobs[start : start + config.batch_size]])

    bare, _ = timed(bare_loop)
    first, _ = timed(lambda: make_features(graph, "visual", config, storage))
    second, _ = timed(lambda: make_features(graph, "visual", config, storage))
    print(f"images: {count / first:.2f} a second; step at {100 * bare / first:.1f} % of a bare loop")
    print(f"images: second run {first / second:.0f} times faster ({1000 * second:.0f} ms)")


def measure_reading(storage: Storage, entities: int = 30_000, dimension: int = 768) -> None:
    """Parquet to a memory-mapped slab, and the slab again."""
    vectors = np.random.default_rng(0).standard_normal((entities, dimension), dtype=np.float32)
    identity = {"encoder": "benchmark", "weights": "random", "dimension": dimension, "output": "pooled"}
    writer = FeatureWriter(FeatureSpec("visual", identity), storage)
    writer.add(Row(f"e{row}", f"c{row}", vectors[row], 1, OK) for row in range(entities))
    uri = writer.commit([Entity(f"e{row}", f"c{row}") for row in range(entities)]).uri
    keys = [f"e{row}" for row in range(entities)]
    files = [Path(uri).with_name(part.name) for part in Manifest.read(uri, storage).parts]
    bare, _ = timed(lambda: [pq.read_table(file, columns=["content", "vector"], partitioning=None) for file in files])
    megabytes, rates = vectors.nbytes / 1e6, []
    for _ in range(6):
        shutil.rmtree(Settings.from_env().scratch, ignore_errors=True)
        first, _ = timed(lambda: load_features(uri, keys, storage))
        rates.append(megabytes / first)
    later, _ = timed(lambda: load_features(uri, keys, storage))
    each = ", ".join(f"{rate:.0f}" for rate in rates)
    print(f"reading: {megabytes:.0f} MB at {each} MB/s from Parquet to a mapped, checked, synced slab")
    print(f"reading: pyarrow alone decodes these files at {megabytes / bare:.0f} MB/s; mapped in {1000 * later:.0f} ms")


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of ``work``."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def graph_of(texts: Texts, images: Sequence[tuple[str, ...]]) -> MMKG:
    """A graph of entities without triples."""
    keys, names, descriptions = zip(*texts, strict=True)
    nothing = no_triples()
    graph = Graph(Vocabulary(keys, names), Vocabulary(("r",), ("r",)), nothing, nothing, nothing)
    return MMKG(graph, {"textual": descriptions, "visual": tuple(images)})


def read_texts(path: Path) -> Texts:
    """Entities of an ``entities.tsv``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[1:]
    return [(row[0], row[1], row[2] if len(row) > 2 else "") for row in rows]


def made_up_texts(count: int) -> Texts:
    """Seeded texts of 1 to 40 words."""
    words = random.Random(0)
    vocabulary = ["".join(words.choices("abcdeiklmnorstu", k=words.randint(2, 9))) for _ in range(3000)]
    return [(f"e{i}", f"name {i}", " ".join(words.choices(vocabulary, k=words.randint(1, 40)))) for i in range(count)]


def picture(number: int) -> bytes:
    """A JPEG photograph's size and noise."""
    noise = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC).save(data, "JPEG", quality=90)
    return data.getvalue()


if __name__ == "__main__":
    print(f"{torch.get_num_threads()} threads")
    main()
