"""Row-wise Adagrad."""

from typing import Any

import torch
from torch import Tensor

from mmkgc.components.train.optimizers.row_sparse import RowSparse

EPSILON = 1e-10


class RowAdagrad(RowSparse):
    """Adagrad (Duchi et al. 2011) with one accumulator per row of a matrix instead of one per number.

    s_i ← s_i + mean(g_i²), θ_i ← θ_i − lr · g_i / (√s_i + ε): the state of N entities is N numbers, not N × d. This is
    the row-wise Adagrad of FBGEMM and TorchRec. Parameters that are no matrices have one accumulator per number, as in
    Adagrad. A row without gradient does not change, so sparse and dense gradients give the same result.
    """

    def begin(self, parameter: Tensor) -> dict[str, Any]:
        shape = parameter.shape[:1] if parameter.dim() == 2 else parameter.shape
        return {"step": torch.tensor(0.0), "sum": parameter.new_zeros(shape)}

    def change(self, state: dict[str, Any], rows: Tensor | None, gradient: Tensor, lr: float) -> Tensor:
        total, by_row = state["sum"], gradient.dim() == 2
        square = torch.linalg.vector_norm(gradient, dim=1).square() / gradient.shape[1] if by_row else gradient.square()
        own = total.add_(square) if rows is None else total.index_add_(0, rows, square)[rows]
        scale = lr / (own.sqrt() + EPSILON)
        return gradient * (scale.unsqueeze(1) if by_row else scale)
