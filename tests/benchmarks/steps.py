"""A training step against all entities beside the matrix products that it needs. Prints a Markdown table.

    python -m tests.benchmarks.steps FOLDER [RANK …]

Reciprocal ComplEx on structure and random text vectors (384 numbers), one thread. Processor time, so that other
programs disturb less: the median of STEPS steps. *Floor*: the scores' product and the two of its gradient, measured
alone for the same number of queries in the same number type; its operations are 3 · 2 · queries · entities · 2 rank.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from tests.benchmarks.regression import COMPLEX, read

STEPS = 5
SIDES = {
    "cross-entropy, float32": {"loss": "cross-entropy", "precision": "float32"},
    "grouped-cross-entropy, float32": {"loss": "grouped-cross-entropy", "precision": "float32"},
    "grouped-cross-entropy, bfloat16": {"loss": "grouped-cross-entropy", "precision": "bfloat16"},
}


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    graph, _ = read(Path(sys.argv[1]))
    print("| rank | loss | s a step | floor, s | floor's share | GFLOP/s | steps | s an epoch |")
    print("|---|---|---|---|---|---|---|---|")
    for rank in map(int, sys.argv[2:] or ["100", "500"]):
        for name, settings in SIDES.items():
            print(f"| {rank} | {name} | {row(graph, rank, settings)} |", flush=True)


def row(graph: Graph, rank: int, settings: dict[str, str]) -> str:
    features = {"textual": Features(torch.randn(len(graph.entities), 384), torch.ones(len(graph.entities)).bool())}
    model = COMPLEX["model"] | {"dimension": rank, "fusion": "sum"}
    trainer = Trainer(graph, features, TrainConfig(**COMPLEX | settings | {"model": model}))
    trainer.dtype = getattr(torch, settings["precision"])  # also where the processor emulates it
    batches = iter(trainer.shuffled())
    queries = trainer.config.batch_size * (1 if trainer.queries else 2)
    step = seconds(lambda: trainer.step(next(batches)))
    floor, operations = products(queries, len(graph.entities), 2 * rank, settings["precision"])
    share, rate = floor / step, operations / floor / 1e9
    return f"{step:.3f} | {floor:.3f} | {share:.0%} | {rate:.0f} | {trainer.batches} | {step * trainer.batches:.1f}"


def products(queries: int, entities: int, width: int, precision: str) -> tuple[float, int]:
    """Seconds and operations of scores, of the queries' gradient and of the entities' gradient."""
    shapes = (queries, width), (entities, width), (queries, entities)
    query, table, gradient = (torch.randn(shape).to(getattr(torch, precision)) for shape in shapes)
    spent = seconds(lambda: (query @ table.T, gradient @ table, gradient.T @ query))
    return spent, 6 * queries * entities * width


def seconds(work: Callable[[], object]) -> float:
    """Median processor seconds of a call, after two that are not counted."""
    found = []
    for _ in range(STEPS + 2):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return median(found[2:])


if __name__ == "__main__":
    main()
