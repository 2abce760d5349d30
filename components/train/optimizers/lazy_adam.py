"""Lazy Adam."""

from typing import Any

import torch
from torch import Tensor

from mmkgc.components.train.optimizers.row_sparse import RowSparse

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class LazyAdam(RowSparse):
    """Adam (Kingma and Ba 2015) that updates the moments and the vectors of the batch's rows alone.

    In Adam every row moves in every step, as long as its first moment has not decayed. Here a row that a batch does not
    read keeps its moments and stays where it is, as in PyTorch's SparseAdam and TensorFlow's LazyAdam; the bias
    correction counts all steps. The two agree where every batch reads every row. Dense gradients are used as in Adam.
    """

    def begin(self, parameter: Tensor) -> dict[str, Any]:
        moments = {name: torch.zeros_like(parameter) for name in ("first", "second")}
        return {"step": torch.tensor(0.0), **moments}

    def change(self, state: dict[str, Any], rows: Tensor | None, gradient: Tensor, lr: float) -> Tensor:
        first, second = (_of_rows(state[name], rows) for name in ("first", "second"))
        first.lerp_(gradient, 1 - BETA1)
        second.lerp_(gradient.square(), 1 - BETA2)
        if rows is not None:
            state["first"].index_copy_(0, rows, first)
            state["second"].index_copy_(0, rows, second)
        step = float(state["step"])
        root = (second / (1 - BETA2**step)).sqrt_().add_(EPSILON)
        return (first / root).mul_(lr / (1 - BETA1**step))


def _of_rows(moment: Tensor, rows: Tensor | None) -> Tensor:
    """The moment of the rows: a copy; of all rows: itself."""
    return moment if rows is None else moment.index_select(0, rows)
