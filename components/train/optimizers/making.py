"""Makes the optimiser and the learning-rate schedule of a recipe."""

from collections.abc import Callable, Iterable
from math import cos, pi

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mmkgc.components.train.config import OptimizerConfig
from mmkgc.components.train.optimizers.lazy_adam import LazyAdam
from mmkgc.components.train.optimizers.row_adagrad import RowAdagrad
from mmkgc.components.train.optimizers.row_sparse import RowSparse

ROW_SPARSE: dict[str, type[RowSparse]] = {"row-adagrad": RowAdagrad, "lazy-adam": LazyAdam}
CLASSES: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adagrad": torch.optim.Adagrad,
    "sgd": torch.optim.SGD,
}


def make_optimizer(config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Make the configured optimiser, fused: unfused, Adam costs as much as computing all scores."""
    if config.name in ROW_SPARSE:
        return ROW_SPARSE[config.name](parameters, config.lr, config.weight_decay)
    return CLASSES[config.name](parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)


def make_schedule(config: OptimizerConfig, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
    """Warm-up, then constant, or linearly or along half a cosine down to 0 at the last of ``steps``.

    ``step`` is a tenth of the learning rate in the second half, as in the RotatE code.
    """
    warmup = config.warmup * steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        done = (step - warmup) / max(1.0, steps - warmup)
        return {
            "constant": 1.0,
            "linear": 1 - done,
            "cosine": (1 + cos(pi * min(done, 1.0))) / 2,
            "step": 1.0 if step < steps / 2 else 0.1,
        }[config.schedule]

    return LambdaLR(optimizer, factor)
