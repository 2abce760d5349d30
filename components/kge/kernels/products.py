"""Scores as dot products: the matrix product of queries and all rows of a table, in a layout that MKL multiplies fast.

MKL writes a float32 matrix up to twice as fast on an AMD processor if each of its rows begins at a multiple of 32
bytes, that is, if the number of columns is a multiple of 8. Q queries, N rows of the table.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

ALIGNED = 8  # float32 numbers in 32 bytes
ROUND = 256  # rows of a bfloat16 product that are not as many in each step: a multiple, so that few shapes occur
FEW_ROWS = 256  # more than the shared negatives of a group, whose number varies
FEW = 64  # with fewer queries the product reads more than it computes, and the layout does not matter


def missing(size: int, multiple: int) -> int:
    """What ``size`` lacks to the next multiple."""
    return -size % multiple


def filled_up(matrix: Tensor, dtype: torch.dtype, multiple: int) -> Tensor:
    """The matrix ``[R, d]`` in this type, with zero rows up to a multiple.

    oneDNN, which multiplies bfloat16 matrices on a processor, compiles a product for each new shape and keeps it, which
    takes longer than the product itself: with rounded sizes few shapes occur.
    """
    filled = matrix.new_empty(len(matrix) + missing(len(matrix), multiple), matrix.shape[1], dtype=dtype)
    filled[: len(matrix)] = matrix
    filled[len(matrix) :] = 0
    return filled


def lowered(matrix: Tensor) -> bool:
    """Whether autocast multiplies this matrix of a processor in lower precision."""
    return matrix.device.type == "cpu" and torch.is_autocast_enabled("cpu")


def pair_dots(query: Tensor, candidate: Tensor) -> Tensor:
    """Dot products ``[...]`` of ``query[..., d]`` and ``candidate[..., d]``, whose leading dimensions broadcast.

    Under autocast on a processor in float32, as few rows in ``dots``.
    """
    if lowered(query):
        with torch.autocast("cpu", enabled=False):
            return pair_dots(query.float(), candidate.float())
    return torch.einsum("...d,...d->...", query, candidate)


def dots(query: Tensor, table: Tensor) -> Tensor:
    """``query[Q, d] @ table[N, d].T``, contiguous. It can be differentiated once where the layout is changed.

    Under autocast on a processor, few rows are multiplied in float32: their number differs from one group of queries to
    the next (see ``filled_up``).
    """
    if len(table) < FEW_ROWS and lowered(query):
        with torch.autocast("cpu", enabled=False):
            return dots(query.float(), table.float())
    if len(query) < FEW or not _extra(query, table):
        return query @ table.T
    return _Dots.apply(query, table)


def padded_dots(query: Tensor, table: Tensor) -> Tensor:
    """``query[Q, d] @ table[N, d].T`` and then the columns of −∞ that make it fast, if any; without a gradient."""
    n = len(table)
    scores = query.new_empty(len(query), n + _extra(query, table))
    torch.mm(query, table.T, out=scores[:, :n])
    scores[:, n:] = -torch.inf
    return scores


def _extra(query: Tensor, table: Tensor) -> int:
    """Columns to add: none in another precision or on another device."""
    plain = query.device.type == "cpu" and query.dtype == table.dtype == torch.float32
    return missing(len(table), ALIGNED) if plain and not lowered(query) else 0


class _Dots(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, table: Tensor) -> Tensor:
        ctx.save_for_backward(query, table)
        return padded_dots(query, table)[:, : len(table)].contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        query, table = ctx.saved_tensors
        return (
            gradient @ table if ctx.needs_input_grad[0] else None,
            gradient.T @ query if ctx.needs_input_grad[1] else None,
        )
