"""Compiled loops over pairs of points: B queries, rows of a table, B·K pairs of both.

Points are C-contiguous float32 ``[…, d]``. A loop processes the rows ``begin…end`` of the table and releases the GIL.
One loop gives bitwise equal scores for equal points; different loops may sum coordinates in different order.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from mmkgc.components.kge.kernels.loops import chunks, lanes
from mmkgc.components.kge.kernels.loops.geometries import coordinates
from mmkgc.components.kge.kernels.loops.machine_code import compiled
from mmkgc.components.kge.kernels.loops.points import pull, score
from mmkgc.components.kge.kernels.loops.simd import wide

TILE = 16  # rows that stay in the L1 cache while the loop goes over all queries


class Loops(NamedTuple):
    """The loops of a comparison: ``score``, and ``pull`` for the gradients of queries and table.

    The table's gradient may be ``fresh``, that is uninitialised memory. Each row is then set to zero before its first
    use, which saves a pass over the whole table. The queries' gradient is always fresh; each thread has its own.
    """

    score: Callable[..., None]
    pull: Callable[..., None]


@compiled
def group(index, offsets, places, queries):
    """Group pairs by their table row ``index[B, K]``.

    The pairs of row i are at ``offsets[i] … offsets[i + 1]`` of ``places`` (position of the pair in ``index``) and of
    ``queries`` (its b). Raises ``IndexError`` for a row that does not exist.
    """
    offsets[:] = 0
    rows = index.ravel()
    for place in range(rows.size):
        if not 0 <= rows[place] < offsets.size - 1:
            raise IndexError("a candidate's index is out of the table's range")
        offsets[rows[place] + 1] += 1
    for row in range(1, offsets.size):
        offsets[row] += offsets[row - 1]
    free = offsets.copy()
    for b in range(index.shape[0]):
        for place in range(b * index.shape[1], (b + 1) * index.shape[1]):
            pair = free[rows[place]]
            free[rows[place]] += 1
            places[pair], queries[pair] = place, b


@cache
def pairs(kind: int) -> Loops:
    """Scores ``[B, K]`` of each query with K rows of the table, in the order of the rows (``group``)."""

    @compiled
    def score_pairs(query, table, pairs, scores, begin, end):
        wide()
        (offsets, places, queries), width = pairs, query.shape[1]
        own = slice(offsets[begin], offsets[end])
        starts, totals = chunks.starts(queries[own], width), np.empty(own.stop - own.start, np.float32)
        length = coordinates(kind, width)
        counts = chunks.shares(length)
        points, rows = query.ravel(), table.ravel()
        for row in range(begin, end):
            first, last = offsets[row] - offsets[begin], offsets[row + 1] - offsets[begin]
            if first == last:  # a group of a large batch asks for few of its rows
                continue
            if length < chunks.CHUNK:
                for p in range(first, last):
                    totals[p] = score(kind, query[starts[p] // width], table[row])
            else:
                start, ahead = np.uintp(row * width), starts[first + chunks.AHEAD : last + chunks.AHEAD]
                chunks.score(kind, length, counts, points, starts[first:last], ahead, rows, start, totals[first:last])
        scores.ravel()[places[own]] = totals

    @compiled
    def pull_pairs(query, table, pairs, slope, query_gradient, table_gradient, fresh, begin, end):
        wide()
        query_gradient[:] = 0
        (offsets, places, queries), width = pairs, query.shape[1]
        own = slice(offsets[begin], offsets[end])
        starts, slopes = chunks.starts(queries[own], width), slope.ravel()[places[own]]
        length = coordinates(kind, width)
        counts = chunks.shares(length)
        points, rows, dq, dc = query.ravel(), table.ravel(), query_gradient.ravel(), table_gradient.ravel()
        for row in range(begin, end):
            if fresh:
                table_gradient[row] = 0
            first, last = offsets[row] - offsets[begin], offsets[row + 1] - offsets[begin]
            if first == last:
                continue
            if length < chunks.CHUNK:
                for p in range(first, last):
                    b = starts[p] // width
                    pull(kind, query[b], table[row], slopes[p], query_gradient[b], table_gradient[row])
            else:
                pair, ahead = starts[first:last], starts[first + chunks.AHEAD : last + chunks.AHEAD]
                start = np.uintp(row * width)
                chunks.pull(kind, length, counts, points, pair, ahead, slopes[first:last], rows, start, dq, dc)

    return Loops(score_pairs, pull_pairs)


@cache
def aligned(kind: int) -> Loops:
    """Scores ``[B]`` of each query with the candidate at the same index; both gradients are fresh."""

    @compiled
    def score_aligned(query, candidate, scores, begin, end):
        for b in range(begin, end):
            scores[b] = score(kind, query[b], candidate[b])

    @compiled
    def pull_aligned(query, candidate, slope, of_query, of_candidate, begin, end):
        wide()
        for b in range(begin, end):
            of_query[b], of_candidate[b] = 0, 0
            pull(kind, query[b], candidate[b], slope[b], of_query[b], of_candidate[b])

    return Loops(score_aligned, pull_aligned)


@cache
def grid(kind: int) -> Loops:
    """Scores ``[B, U]`` of every query with every row of the table."""

    @compiled
    def score_grid(query, table, scores, begin, end):
        for first in range(begin, end, TILE):
            for b in range(query.shape[0]):
                for row in range(first, min(first + TILE, end)):
                    scores[b, row] = score(kind, query[b], table[row])

    @compiled
    def pull_grid(query, table, slope, query_gradient, table_gradient, fresh, begin, end):
        wide()
        query_gradient[:] = 0
        for first in range(begin, end, TILE):
            if fresh:
                table_gradient[first : min(first + TILE, end)] = 0
            for b in range(query.shape[0]):
                for row in range(first, min(first + TILE, end)):
                    pull(kind, query[b], table[row], slope[b, row], query_gradient[b], table_gradient[row])

    return Loops(score_grid, pull_grid)


@cache
def grid_of_many(kind: int) -> Callable[..., None]:
    """The scores of ``grid``, for enough queries that transposing the table is faster."""

    @compiled
    def score_grid(query, table, scores, begin, end):
        columns = np.empty((query.shape[1], lanes.LANES), np.float32)
        for first in range(begin, end, lanes.LANES):
            stop = min(first + lanes.LANES, end)
            lanes.turn(table[first:stop], columns)
            for b in range(query.shape[0]):
                lanes.score(kind, query[b], columns, scores[b, first:stop])

    return score_grid
