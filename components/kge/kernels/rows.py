"""Rows of a table that several operations read, with gradients accumulated in place.

By default, each operation allocates a table of zeros, writes the gradients of its few rows, and the tables are summed;
with N × d parameters that costs more than the scores. A shared table has one gradient table for all operations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding


class RowGradients:
    """The gradient of one shared table in the current backward pass."""

    def __init__(self) -> None:
        self._pass, self._total = -1, torch.empty(0)

    def of(self, table: Tensor) -> Tensor:
        """The gradient accumulated so far in this pass, to be added to in place."""
        total, fresh = self.begun(table)
        return total.zero_() if fresh else total

    def begun(self, table: Tensor) -> tuple[Tensor, bool]:
        """As ``of``, and whether the memory is uninitialised; the caller then has to set it to zero."""
        now = torch._C._current_graph_task_id()
        fresh = self._pass != now  # an earlier pass may have ended before its gradient reached the table
        if fresh:
            self._pass, self._total = now, torch.empty_like(table, memory_format=torch.contiguous_format)
        return self._total, fresh

    def collect(self) -> Tensor | None:
        """Return and release the total of this pass; None if nothing was added."""
        total = self._total if self._pass == torch._C._current_graph_task_id() else None
        self._pass, self._total = -1, torch.empty(0)
        return total


def share(table: Tensor) -> Tensor:
    """The table, with gradients of ``take`` and ``comparison`` accumulated in place; other operations may use it."""
    if not (torch.is_grad_enabled() and table.requires_grad) or torch.compiler.is_compiling():
        return table
    if gradients_of(table):
        return table
    gradients = RowGradients()
    shared = _Share.apply(table, gradients)
    shared.row_gradients = gradients
    return shared


def gradients_of(table: Tensor) -> RowGradients | None:
    """The accumulator of the gradients of the table's rows; None if the table is not shared."""
    return getattr(table, "row_gradients", None)


def take(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]``, ``[…, d]``, of a table ``[N, d]``, with a deterministic gradient.

    The gradient of plain indexing is not deterministic: threads add to a row in any order.
    """
    gradients = gradients_of(table)
    return embedding(index, table) if gradients is None else _Take.apply(table, index, gradients)


def sparsely(table: Tensor, ids: Tensor) -> Tensor:
    """``table[ids]`` ``[U, d]`` of distinct ``ids[U]``, whose gradient is a sparse tensor of these rows."""
    return _Sparsely.apply(table, ids)


class _Sparsely(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, ids: Tensor) -> Tensor:
        ctx.shape = table.shape
        ctx.save_for_backward(ids)
        return table.index_select(0, ids)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (ids,) = ctx.saved_tensors
        ascending = bool((ids[1:] > ids[:-1]).all())  # as a batch has them: nobody need sort and copy the rows
        rows = ids.unsqueeze(0)
        return torch.sparse_coo_tensor(rows, gradient, ctx.shape, check_invariants=False, is_coalesced=ascending), None


class _Share(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, gradients: RowGradients) -> Tensor:
        ctx.gradients = gradients
        ctx.set_materialize_grads(False)
        return table.view_as(table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        """The total of ``take`` and ``candidates``, and ``gradient`` from all other operations."""
        total = ctx.gradients.collect()
        if total is None:
            return gradient, None
        return total if gradient is None else total.add_(gradient), None


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, gradients: RowGradients) -> Tensor:
        ctx.gradients = gradients
        ctx.save_for_backward(table, index)
        return embedding(index, table)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        table, index = ctx.saved_tensors
        ctx.gradients.of(table).index_add_(0, index.flatten(), gradient.flatten(0, -2))
        return None, None, None
