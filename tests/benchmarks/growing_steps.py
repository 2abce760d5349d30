"""What of a training step grows with the number of entities: graphs of two sizes, their steps in turns.

    OMP_NUM_THREADS=1 PYTHONPATH=. python tests/benchmarks/growing_steps.py 100000 1000000

Two settings: those of ``mmkgc bench scale``, and the recipe `default` as it is advised for large graphs, with the same
dimension. Both sizes are trained in one process and step alternately, so that other programs slow down both. Beside
each step, the least that a table of this size asks of the memory is measured: rows of the batch's distinct entities are
read from the structural vectors and from the features, and added to the former. Prints processor time in ms (lowest,
lower quartile, median). A million entities take 7 GB of memory and 2 GB of disk.
"""

import sys
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.runtime.quoting import json_line
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.pipeline import config, scale
from mmkgc.pipeline.advice import LARGE
from mmkgc.pipeline.cells import in_processes

STEPS, DEGREE = 40, 10


def settings() -> dict[str, TrainConfig]:
    """The two settings by name."""
    shared = TrainConfig.model_validate(scale.TRAINING)
    advised = LARGE | {"model.dimension": shared.model.dimension}
    default = config.load("default", [f"train.{key}={json_line(value)}" for key, value in advised.items()]).train
    return {"64 shared negatives": shared, "the default's loss": default}


class Training:
    """A training of one size, with the times of its steps."""

    def __init__(self, n: int, folder: Path, config: TrainConfig) -> None:
        self.n, self.features = n, scale._features(folder)
        self.trainer = Trainer(scale._graph(folder), {"textual": self.features}, config)
        self.trainer.model.train()
        self.batches: Iterator[torch.Tensor] = chain.from_iterable(self.trainer.shuffled() for _ in count())
        self.steps: list[float] = []
        self.floors: list[float] = []
        self.distinct: list[int] = []

    def step(self) -> None:
        """A step, and the floor of the same rows."""
        rows = next(self.batches)
        begun = time.process_time()
        self.trainer.step(rows)
        self.steps.append(time.process_time() - begun)
        table = self.trainer.model.entities.structural_table()
        assert table is not None
        assert table.grad is not None
        ids, table = table.grad.coalesce().indices()[0], table.detach()
        begun = time.process_time()
        read, _ = table.index_select(0, ids), self.features.vectors.index_select(0, ids)
        table.index_add_(0, ids, read, alpha=0.0)
        self.floors.append(time.process_time() - begun)
        self.distinct.append(len(ids))


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [100_000, 1_000_000]
    with TemporaryDirectory() as scratch:
        folders = [generated(n, Path(scratch) / str(n)) for n in sizes]
        keep_freed_memory()
        for name, each in settings().items():
            report(name, [Training(n, folder, each) for n, folder in zip(sizes, folders, strict=True)])


def generated(n: int, folder: Path) -> Path:
    """The folder with a graph of n entities; in processes of their own, which give their memory back."""
    folder.mkdir()
    for stage in (scale.generate, scale.ingest):
        next(in_processes(stage, [(scale.Size(n, n * DEGREE, STEPS), folder)], 1, alone=True))
    return folder


def report(name: str, trainings: list[Training]) -> None:
    """Take the steps, and print their times."""
    for _ in range(scale.WARM_UP + STEPS):
        for training in trainings:
            training.step()
    print(f"{name}\n\n| entities | distinct in a batch | step | rows read and added alone |\n|---|---|---|---|")
    for each in trainings:
        print(f"| {each.n:,} | {np.mean(each.distinct):,.0f} | {shown(each.steps)} | {shown(each.floors)} |")
    first, last = (np.array(each.steps[scale.WARM_UP :]) for each in (trainings[0], trainings[-1]))
    print(f"\nthe larger takes {np.median(last / first):.2f} × the time of the smaller: median of pairs of steps\n")


def shown(seconds: list[float]) -> str:
    """Lowest, lower quartile and median in ms, without the first steps."""
    return ", ".join(f"{1000 * value:.1f}" for value in np.quantile(seconds[scale.WARM_UP :], (0, 0.25, 0.5)))


if __name__ == "__main__":
    main()
