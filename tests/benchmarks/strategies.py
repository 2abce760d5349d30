"""Seconds of an epoch with each sampling strategy, over uniform sampling; prints one table.

    python -m tests.benchmarks.strategies [turns [strategy …]]

A random graph of DB15K's size (12,842 entities, 279 relations) with random features of its widths: 4,096 for images,
768 for text. "MANS Table V": IKRL over normalised TransE, d = 128, one negative, margin loss, 400 batches an epoch,
SGD; NS-KGE beside it is DistMult on structure in closed form, the whole graph in one batch. "AdaMF": RotatE, d = 250,
64 negatives, batch 1024, Adam. The strategies of a group train side by side, a second of each in turn, in an order that
changes from turn to turn, since a host's speed changes within seconds. Each turn gives a ratio to uniform, by the clock
and by the processor time of all threads, the sounder figure where a host takes cores away; the table shows their median
and quartiles. MANS-T is in its first stage, which is the dearer one, and then does what MANS-V does: what their rows
differ by is noise. What EANS (once in five epochs) and NSCaching do at the beginning of an epoch is printed apart.
"""

import statistics
import sys
import time
from math import ceil
from typing import Any, NamedTuple

import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from tests.benchmarks.sides import ENTITIES, TRIPLES, random_graph

IKRL: dict[str, Any] = {
    "model": {"dimension": 128, "interaction": {"name": "transe", "normalize": True}, "fusion": "ikrl"},
    "loss": {"name": "margin", "margin": 12},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": ceil(TRIPLES / 400),
}
ADAMF: dict[str, Any] = {
    "model": {"dimension": 250, "interaction": "rotate", "fusion": "adamf"},
    "loss": {"name": "self-adversarial", "margin": 12, "temperature": 2},
    "batch_size": 1024,
}
CLOSED: dict[str, Any] = {
    "model": {"dimension": 128, "interaction": "distmult", "fusion": "structure"},
    "loss": "non-sampling",
    "batch_size": TRIPLES,
}
Goals = dict[str, float | None]
OF_MANS: Goals = {"mans-v": 1.10, "mans-t": 1.10, "mans-h": 1.10, "mans-a": 1.10}
OTHERS: Goals = {
    "nscaching": 1.3,
    "sans": 1.2,
    "eans": 1.5,
    "kbgan": 2.2,
    "ns-kge": 0.3,
    "igan": None,
    "cake": None,
    "twins": None,
}
GROUPS: dict[str, tuple[dict[str, Any], int, Goals]] = {
    "IKRL, 1 negative (MANS Table V)": (IKRL, 1, OF_MANS | OTHERS),
    "AdaMF, 64 negatives": (ADAMF, 64, {"mat": 1.2, "dhns": 3.0, "mmrns": None}),
}
SLICE = {1: 40, 64: 1}  # batches that a strategy trains in its turn, by the number of negatives: about a second


class Seconds(NamedTuple):
    """By the clock on the wall, and of processor time of all threads."""

    wall: float
    processor: float


def main() -> None:
    keep_freed_memory()  # as the train step does
    turns, chosen = int(sys.argv[1]) if sys.argv[1:] else 30, sys.argv[2:]
    graph, features = random_graph(), random_features()
    print(f"Seconds an epoch, median of {turns} turns; {torch.get_num_threads()} threads\n")
    print("| system | strategy | s an epoch | over uniform (quartiles) | by processor time | goal |")
    print("|---|---|---|---|---|---|")
    for system, (settings, count, goals) in GROUPS.items():
        names = [name for name in goals if name in chosen or not chosen]
        if not names:
            continue
        for strategy, row in measured(graph, features, settings, count, ["uniform", *names], turns).items():
            goal = f"≤ {wanted:.2f}" if (wanted := goals.get(strategy)) else ""
            print(f"| {system} | {strategy} | {row} | {goal} |", flush=True)


def measured(
    graph: Graph, features: dict[str, Features], settings: dict[str, Any], count: int, names: list[str], turns: int
) -> dict[str, str]:
    """The cells of each strategy: seconds of an epoch, and its ratios to the first one's."""
    trainers = {name: trainer(graph, features, settings, name, count) for name in names}
    for name in sorted({"eans", "nscaching"} & trainers.keys()):
        print(f"{name}: {at_the_beginning(trainers[name]):.2f} s at the beginning of an epoch", file=sys.stderr)
    seconds: dict[str, list[Seconds]] = {name: [] for name in names}
    for turn in range(turns + 1):  # the first warms up
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(trained(trainers[name], SLICE[count], first=turn == 0))
    slices = trainers[names[0]].batches / SLICE[count]
    warm = {name: [scaled(one, slices, trainers[name]) for one in values[1:]] for name, values in seconds.items()}
    return {name: cells(warm[name], warm[names[0]]) for name in names}


def trainer(graph: Graph, features: dict[str, Features], settings: dict[str, Any], name: str, count: int) -> Trainer:
    """A trainer of the settings with a sampler; NS-KGE has settings of its own and none."""
    given = CLOSED if name == "ns-kge" else settings | {"negatives": {"name": name, "count": count}}
    return Trainer(graph, features, TrainConfig(**given, epochs=10**6))


def at_the_beginning(trainer: Trainer) -> float:
    """Processor seconds that the first batch of an epoch costs the sampler more than the next one."""
    assert trainer.sampler
    trainer.model.train()
    batch = Batch(trainer.triples[: trainer.config.batch_size], trainer.weights[: trainer.config.batch_size])
    trainer.sampler.begin_epoch(0, 10)
    seconds = []
    for _ in range(2):
        begun = time.process_time()
        trainer.sampler.sample(batch, trainer.model)
        seconds.append(time.process_time() - begun)
    return seconds[0] - seconds[1]


def scaled(one: "Seconds", slices: float, trainer: Trainer) -> "Seconds":
    """Seconds of a whole epoch; a slice of a trainer with one batch is an epoch."""
    return one if trainer.batches == 1 else Seconds(*(slices * value for value in one))


def cells(own: list[Seconds], uniform: list[Seconds]) -> str:
    """Wall seconds of an epoch; ratios by the wall and by processor time, median and quartiles."""
    wall = statistics.median(seconds.wall for seconds in own)
    ratios = [
        [getattr(ours, clock) / getattr(theirs, clock) for ours, theirs in zip(own, uniform, strict=True)]
        for clock in Seconds._fields
    ]
    spans = [
        f"{median:.2f} ({low:.2f}, {high:.2f})"
        for low, median, high in (statistics.quantiles(of, n=4) for of in ratios)
    ]
    return " | ".join([f"{wall:.1f}", *spans])


def trained(trainer: Trainer, batches: int, first: bool) -> Seconds:
    """How long some steps take; the epoch begins with the ``first`` of them, the warm-up."""
    trainer.model.train()
    if trainer.sampler and first:
        trainer.sampler.begin_epoch(0, 10)
    order = torch.randperm(len(trainer.triples))[: batches * trainer.config.batch_size]
    wall, processor = time.monotonic(), time.process_time()
    for rows in order.split(trainer.config.batch_size):
        trainer.step(rows)
    return Seconds(time.monotonic() - wall, time.process_time() - processor)


def random_features() -> dict[str, Features]:
    """Normal vectors of DB15K's widths, none missing."""
    generator, mask = torch.Generator().manual_seed(0), torch.ones(ENTITIES, dtype=torch.bool)
    widths = {"visual": 4096, "textual": 768}
    return {m: Features(torch.randn(ENTITIES, width, generator=generator), mask) for m, width in widths.items()}


if __name__ == "__main__":
    main()
