"""Differentiable comparisons of queries with rows of a table, on the CPU, in float32.

Gathered rows ``[B, K, d]`` are never materialised. Each thread owns a range of the table's rows and processes the pairs
that need them, so a row is read from memory once and its gradient is written without races. Each thread has its own
query gradients, which are summed at the end.
"""

from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmkgc.components.kge.kernels.rows import RowGradients, gradients_of
from mmkgc.components.kge.kernels.threads import balanced, ranges, run
from mmkgc.components.kge.tensors import total

Kind = Literal["dot", "l1", "l2", "modulus"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # as numbered in points
MANY = 16  # from this number of queries, transposing the table is faster
SMALL = 1 << 17  # with fewer coordinates to compare, PyTorch's own operations are as fast


def usable(query: Tensor, table: Tensor, comparisons: int) -> bool:
    """Whether the kernels support these vectors; ``comparisons``: number of pairs of points."""
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in (query, table))
    return plain and query.dim() == 2 and comparisons * query.shape[1] >= SMALL and not torch.compiler.is_compiling()


def aligned(kind: Kind, query: Tensor, candidate: Tensor) -> Tensor:
    """Scores ``[B]`` of ``query[B, d]`` with ``candidate[B, d]``."""
    return _Aligned.apply(kind, query, candidate)


def candidates(kind: Kind, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
    """Scores ``[B, K]`` of ``query[B, d]`` with ``table[index[B, K]]``; raises ``IndexError`` for a wrong index."""
    return _Candidates.apply(kind, query, table, index, gradients_of(table))


def everyone(kind: Kind, query: Tensor, table: Tensor) -> Tensor:
    """Scores ``[B, N]`` of ``query[B, d]`` with every row of ``table[N, d]``."""
    return _Everyone.apply(kind, query, table, gradients_of(table))


class _Aligned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: Kind, query: Tensor, candidate: Tensor) -> Tensor:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        scores = query.new_empty(len(query))
        ctx.kind = kind
        ctx.save_for_backward(query, candidate, scores)
        arrays = _points(query), _points(candidate), scores.numpy()
        score = loops.aligned(KINDS.index(kind)).score
        run([partial(score, *arrays, *part) for part in ranges(len(query))])
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        query, candidate, scores = ctx.saved_tensors
        of_query, of_candidate = query.new_empty(query.shape), candidate.new_empty(candidate.shape)
        tensors = query, candidate, _slope(ctx.kind, scores, gradient), of_query, of_candidate
        arrays = [_points(tensor) for tensor in tensors]
        pull = loops.aligned(KINDS.index(ctx.kind)).pull
        run([partial(pull, *arrays, *part) for part in ranges(len(query))])
        return None, of_query, of_candidate


class _Candidates(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kind: Kind, query: Tensor, table: Tensor, index: Tensor, gradients: RowGradients | None
    ) -> Tensor:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        offsets, places, queries = (np.empty(n, np.int32) for n in (len(table) + 1, index.numel(), index.numel()))
        loops.group(index.contiguous().numpy(), offsets, places, queries)
        scores = query.new_empty(index.shape)
        ctx.kind, ctx.gradients, ctx.pairs = kind, gradients, (offsets, places, queries)
        ctx.parts = balanced(offsets)
        ctx.save_for_backward(query, table, scores)
        points = _points(query), _points(table)
        score = loops.pairs(KINDS.index(kind)).score
        run([partial(score, *points, ctx.pairs, scores.numpy(), *part) for part in ctx.parts])
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        pull = loops.pairs(KINDS.index(ctx.kind)).pull
        return (None, *_pull(ctx, pull, gradient, ctx.parts, ctx.pairs), None, None)


class _Everyone(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, kind: Kind, query: Tensor, table: Tensor, gradients: RowGradients | None) -> Tensor:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        scores = query.new_empty(len(query), len(table))
        ctx.kind, ctx.gradients = kind, gradients
        ctx.save_for_backward(query, table, scores)
        points = _points(query), _points(table)
        number = KINDS.index(kind)
        score = loops.grid_of_many(number) if len(query) >= MANY else loops.grid(number).score
        ctx.parts = ranges(len(table))
        run([partial(score, *points, scores.numpy(), *part) for part in ctx.parts])
        return scores

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from mmkgc.components.kge.kernels.loops import comparison as loops

        pull = loops.grid(KINDS.index(ctx.kind)).pull
        # a recomputed checkpoint lets saved tensors be unpacked once, which `_pull` does
        return (None, *_pull(ctx, pull, gradient, ctx.parts), None)


def _pull(
    ctx: Any, pull: Any, gradient: Tensor, parts: list[tuple[int, int]], *pairs: tuple[np.ndarray, ...]
) -> tuple[Tensor, Tensor | None]:
    """Gradients of queries and table from the scores' ``gradient``; ``pull`` works on each of ``parts`` of the rows.

    The table's gradient is None for a shared table, which accumulates it itself.
    """
    query, table, scores = ctx.saved_tensors
    slope = _slope(ctx.kind, scores, gradient)
    of_query = query.new_empty(len(parts), *query.shape)
    of_table, fresh = (ctx.gradients or RowGradients()).begun(table)
    points = _points(query), _points(table)
    own, rows = _points(of_query), _points(of_table)
    run([partial(pull, *points, *pairs, _points(slope), own[i], rows, fresh, *part) for i, part in enumerate(parts)])
    return total(of_query), None if ctx.gradients else of_table


def _slope(kind: Kind, scores: Tensor, gradient: Tensor) -> Tensor:
    """The ``slope`` argument of ``pull``: the gradient of the scores; for L2, divided by the score."""
    return torch.where(scores == 0, 0, gradient / scores) if kind == "l2" else gradient


def _points(vectors: Tensor) -> np.ndarray:
    return vectors.detach().contiguous().numpy()
