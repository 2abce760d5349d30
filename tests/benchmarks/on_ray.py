"""Texts per second of extraction: the plain engine, and one and two actors of a Ray cluster on this machine.

    OMP_NUM_THREADS=1 python tests/benchmarks/on_ray.py [TEXTS]

The texts are names of relations and entities of the bundled graph in random order, 20 words each, read by the default
encoder. ``start``: seconds until the first vector, with the start of the cluster and the loading of the encoder;
the rate is of the time after that. Prints a Markdown table and whether all vectors are the same bits.
"""

import itertools
import os
import random
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np

from mmkgc.components.encoders.registry import create
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.extract.contents import Source
from mmkgc.components.extract.encode import rows
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.ingest import build
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage

WORDS = 20
SETTINGS = {"plain": {}, "1 actor": {"engine": "ray", "actors": 1}, "2 actors": {"engine": "ray", "actors": 2}}


class Measured(NamedTuple):
    """Seconds until the first vector and for all, how many came at once with the first, and the vectors."""

    start: float
    all: float
    first: int
    vectors: dict[str, np.ndarray]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3000
    with tempfile.TemporaryDirectory() as scratch:
        storage = open_storage(scratch)
        sources = texts(count, storage)
        print(f"{count} texts of {WORDS} words, load {os.getloadavg()[0]:.1f} at the begin\n")
        print("| | start, s | texts/s after it | all, s | load |\n|---|---|---|---|---|")
        found = []
        for name, settings in SETTINGS.items():
            measured = measure(sources, ExtractConfig.model_validate(settings), storage)
            rate = (count - measured.first) / (measured.all - measured.start)
            load = os.getloadavg()[0]
            print(f"| {name} | {measured.start:.1f} | {rate:.0f} | {measured.all:.1f} | {load:.1f} |", flush=True)
            found.append(measured.vectors)
    same = all((found[0][key] == other[key]).all() for other in found[1:] for key in found[0])
    print(f"\nsame bits: {same}")


def texts(count: int, storage: Storage) -> list[Source]:
    """Texts of words drawn from the names of the graph."""
    graph = build("countries", IngestConfig(), storage).graph
    names = graph.entities.names + graph.relations.names
    words = sorted({word for name in names for word in name.split()})
    draw = random.Random(0)
    return [Source(f"e{place}", (" ".join(draw.choices(words, k=WORDS)),)) for place in range(count)]


def measure(sources: list[Source], config: ExtractConfig, storage: Storage) -> Measured:
    begin = time.perf_counter()
    arrived, vectors = [], {}
    for row in rows(sources, create(config.encoder("textual")), config, storage):
        arrived.append(time.perf_counter() - begin)
        vectors[row.key] = row.vector
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrived)]
    first = next((place + 1 for place, gap in enumerate(gaps) if gap > 0.01), len(arrived) - 1)
    return Measured(arrived[0], arrived[-1], first, vectors)


if __name__ == "__main__":
    main()
