"""A training step by the package's kernels, by PyTorch's operations, and by torch.compile; prints one table.

    python -m tests.benchmarks.compiled [batches]

12,842 entities, 279 relations, d = 200, 1,024 triples with 64 uniform negatives, self-adversarial loss, Adam. "PyTorch"
is the same step with the kernels switched off: scores block by block, of the cache's size. "torch.compile" is
``compile: always``; it compiles in the first two steps.
"""

import statistics
import sys
import time
from unittest.mock import patch

import torch

from mmkgc.components.kge.kernels import comparison
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from tests.benchmarks.sides import MODELS, random_graph

NEVER = 1 << 62  # comparisons, more than any step has
WAYS: dict[str, tuple[str, int]] = {
    "kernels": ("never", comparison.SMALL),
    "PyTorch": ("never", NEVER),
    "torch.compile": ("always", NEVER),
}


def main() -> None:
    keep_freed_memory()  # as the train step does
    batches = int(sys.argv[1]) if sys.argv[1:] else 10
    print(f"A training step, ms, median of {batches}; {torch.get_num_threads()} threads\n")
    print("| model | by | ms | over kernels | first two steps, s |\n|---|---|---|---|---|")
    for model in MODELS:
        kernels = 0.0
        for way, (wanted, small) in WAYS.items():
            with patch.object(comparison, "SMALL", small):
                first, later = measured(model, wanted, batches)
            kernels = kernels or later
            print(f"| {model} | {way} | {1e3 * later:.0f} | {later / kernels:.2f} | {first:.1f} |", flush=True)


def measured(model: str, wanted: str, batches: int) -> tuple[float, float]:
    """Seconds of the first two steps, in which code is compiled, and the median of the later ones."""
    config = TrainConfig.model_validate(
        {
            "model": {"dimension": 200, "interaction": model, "fusion": "structure"},
            "negatives": {"name": "uniform", "count": 64},
            "compile": wanted,
        }
    )
    trainer = Trainer(random_graph(), {}, config)
    trainer.model.train()
    seconds = []
    for rows in torch.arange((2 + batches) * config.batch_size).split(config.batch_size):
        begun = time.monotonic()
        trainer.step(rows)
        seconds.append(time.monotonic() - begun)
    return sum(seconds[:2]), statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
