"""What graphs of growing size cost: ingest, training, ranking and serving, each stage in a process of its own.

The graphs are synthetic (``components/dataset/synthetic.py``). A row is one size: seconds by the wall and by the
processor, and the peak memory of each stage. On a machine that other programs use too, the processor time says what the
work costs. Stages that were measured are found in the file of rows; their outputs stay in the folder until the end.
"""

import json
import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmkgc.components.runtime import digests
from mmkgc.pipeline.cells import in_processes

Row = dict[str, Any]
TRAINING = {
    "model": {"dimension": 128, "interaction": "complex", "fusion": "sum"},
    "loss": {"name": "self-adversarial", "margin": 0},
    "negatives": {"name": "shared", "count": 64},
    "optimizer": {"name": "row-adagrad", "lr": 0.1},
    "precision": "bfloat16",
    "batch_size": 8192,
    "epochs": 1,
}
WIDTH = 384  # reals of a text's vector
WARM_UP = 3  # steps that compile kernels and touch memory for the first time
RANKED, ASKED, ANSWERS = 128, 32, 10  # triples ranked from both sides, queries served, answers of each
MEGABYTE = 1 << 20
METRICS = {
    "ingest": "ingest, s of processor time",
    "step": "training step, s of processor time",
    "epoch": "epoch, s of processor time",
    "query": "ranking a query, s of processor time",
    "p50": "served query by exact scan, median s",
    "peak": "peak memory of training, MB",
}


@dataclass(frozen=True)
class Size:
    """A graph to be measured: N entities, T triples, and the number of training steps to be timed."""

    entities: int
    triples: int
    steps: int


def measure(sizes: Sequence[Size], file: Path, folder: Path) -> Iterator[Row]:
    """Rows of the sizes, in their order; those in ``file`` of the same code are not measured again."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    found = {row["key"]: row for row in map(json.loads, lines)}
    for size in sizes:
        key = digests.of_json([asdict(size), TRAINING, digests.of_code()])[:16]
        if key not in found:
            found[key] = {"key": key, **asdict(size), **_measured(size, folder / f"{size.entities}")}
            with file.open("a", encoding="utf-8") as rows:
                rows.write(json.dumps(found[key], sort_keys=True) + "\n")
        yield found[key]


def _measured(size: Size, folder: Path) -> Row:
    """All stages of a size, one after another."""
    stages: dict[str, Callable[[tuple[Size, Path]], Row]] = {
        "generate": generate, "ingest": ingest, "train": train, "rank": rank_sample, "serve": serve,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    return {name: next(in_processes(stage, [(size, folder)], 1, alone=True)) for name, stage in stages.items()}


class Meter:
    """Seconds since it was made, and the peak memory of the process."""

    def __init__(self) -> None:
        self.wall, self.processor = time.monotonic(), time.process_time()

    def read(self) -> Row:
        """Wall and processor seconds, and the peak of the resident memory in MB."""
        passed = {"wall": time.monotonic() - self.wall, "processor": time.process_time() - self.processor}
        return passed | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def generate(job: tuple[Size, Path]) -> Row:
    """Write the dataset folder and the features."""
    from mmkgc.components.dataset.synthetic import SyntheticGraph, write_dataset, write_features

    size, folder = job
    meter, graph = Meter(), SyntheticGraph(size.entities, size.triples)
    write_dataset(graph, folder / "dataset")
    write_features(graph, folder / "features.npy", WIDTH)
    return meter.read()


def ingest(job: tuple[Size, Path]) -> Row:
    """Check the dataset and write the graph."""
    from mmkgc.components.ingest.ingest import IngestConfig, read_checked
    from mmkgc.feature_store.opening import open_storage

    _, folder = job
    begun, meter = Meter().read()["peak"], Meter()
    read_checked(str(folder / "dataset"), IngestConfig(), open_storage()).save(folder / "graph")
    stored = sum(path.stat().st_size for path in (folder / "graph").iterdir()) / MEGABYTE
    return meter.read() | {"begun": begun, "stored": stored}


def train(job: tuple[Size, Path]) -> Row:
    """Make some steps of training; the model is saved as a bundle."""
    from itertools import chain, count, islice

    from mmkgc.components.kge.bundle import Bundle
    from mmkgc.components.runtime.malloc import keep_freed_memory
    from mmkgc.components.train.config import TrainConfig
    from mmkgc.components.train.needs import needs
    from mmkgc.components.train.trainer import Trainer

    keep_freed_memory()
    size, folder = job
    setup, graph, config = Meter(), _graph(folder), TrainConfig.model_validate(TRAINING)
    trainer = Trainer(graph, {"textual": _features(folder)}, config)
    made = setup.read()
    trainer.model.train()
    batches = chain.from_iterable(trainer.shuffled() for _ in count())
    for rows in islice(batches, WARM_UP):
        trainer.step(rows)
    meter = Meter()
    steps = sum(1 for rows in islice(batches, size.steps) if trainer.step(rows))
    measured = meter.read()
    needed = needs(config, len(graph.entities), len(graph.train), {"textual": WIDTH})
    Bundle.of(trainer.model.eval(), graph, config=config.model_dump()).save(folder / "bundle")
    each = {name: measured[name] / steps for name in ("wall", "processor")}
    estimate = sum(needed.memory.values()) / MEGABYTE
    return each | {"batches": trainer.batches, "peak": measured["peak"], "estimated": estimate, "setup": made}


def rank_sample(job: tuple[Size, Path]) -> Row:
    """Rank some development triples among all entities, from both sides."""
    from mmkgc.components.kge.bundle import Bundle
    from mmkgc.components.kge.evaluation.ranks import rank
    from mmkgc.components.kge.graph import KnownTriples

    _, folder = job
    bundle, graph = Bundle.load(folder / "bundle"), _graph(folder)
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    bundle.model.freeze()
    meter, triples = Meter(), graph.valid[:RANKED]
    rank(bundle.model, triples, known)
    measured = meter.read()
    return {name: measured[name] / (2 * len(triples)) for name in ("wall", "processor")} | {"peak": measured["peak"]}


def serve(job: tuple[Size, Path]) -> Row:
    """Answer queries one at a time by an exact scan."""
    from statistics import median

    from mmkgc.serving.engine.engine import Engine

    _, folder = job
    engine, times = Engine.load(folder / "bundle"), []
    keys, relations = engine.bundle.entities.keys, engine.bundle.relations.keys
    for head, relation, _ in engine.bundle.train[: ASKED + 2].tolist():
        begun = time.perf_counter()
        engine.answer([{"head": keys[head], "relation": relations[relation], "k": ANSWERS}])
        times.append(time.perf_counter() - begun)
    return {"p50": median(times[2:])} | {"peak": Meter().read()["peak"]}


def _graph(folder: Path) -> Any:
    from mmkgc.components.dataset.mmkg import MMKG

    return MMKG.load(folder / "graph").graph


def _features(folder: Path) -> Any:
    """The features, mapped from disk."""
    import numpy as np
    import torch

    from mmkgc.components.kge.features import Features

    vectors = torch.from_numpy(np.load(folder / "features.npy", mmap_mode="c"))
    return Features(vectors, torch.ones(len(vectors), dtype=torch.bool))


def metrics(row: Row) -> dict[str, float]:
    """The numbers of a row that are drawn (``METRICS``)."""
    return {
        "ingest": row["ingest"]["processor"],
        "step": row["train"]["processor"],
        "epoch": row["train"]["processor"] * row["train"]["batches"],
        "query": row["rank"]["processor"],
        "p50": row["serve"]["p50"],
        "peak": row["train"]["peak"],
    }


def slopes(rows: Sequence[Row]) -> dict[str, float]:
    """Slope of log metric over log N by least squares: 1 is linear, 0 independent of N."""
    points = [
        (math.log(row["entities"]), {name: math.log(value) for name, value in metrics(row).items()}) for row in rows
    ]
    mean = sum(x for x, _ in points) / len(points)
    spread = sum((x - mean) ** 2 for x, _ in points)
    return {name: sum((x - mean) * values[name] for x, values in points) / spread for name in METRICS}


def draw(rows: Sequence[Row], path: Path) -> None:
    """Each metric against N, both logarithmic."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(11, 6), layout="constrained")
    found = slopes(rows) if len(rows) > 1 else dict.fromkeys(METRICS, math.nan)
    for axis, (name, title) in zip(axes.flat, METRICS.items(), strict=True):
        values = [metrics(row)[name] for row in rows]
        axis.loglog([row["entities"] for row in rows], values, marker="o")
        middle, ratio = math.sqrt(min(values) * max(values)), max(10.0, 1.5 * max(values) / min(values))
        axis.set_ylim(middle / math.sqrt(ratio), middle * math.sqrt(ratio))  # at least a decade: a small change is flat
        axis.set_title(f"{title}\nslope {found[name]:.2f}", fontsize=10)
        axis.set_xlabel("entities")
        axis.grid(alpha=0.3)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
