"""Compiled comparisons of one row of the table with all of its queries, ``CHUNK`` coordinates at a time.

In the gradient, the row's coordinates and its accumulated gradient stay in registers while the loop goes over its
queries; pair by pair (``points.pull``), both are read and written for each query. The order of the queries is
irregular, so hardware prefetching works neither for them nor for the table; the code prefetches both. Arrays are flat.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

import numpy as np
from numba import carray, njit

from mmkgc.components.kge.kernels.loops.geometries import (
    MODULUS,
    ZERO,
    complex_gradients,
    complex_term,
    finish,
    gradients,
    term,
)
from mmkgc.components.kge.kernels.loops.simd import adder, prefetch, stack, summer

CHUNK = 32  # two registers of 512 bits; a shorter loop would be unrolled before it is vectorised
AHEAD = 4  # number of pairs by which a query is prefetched in advance
_stack, _add, _sum = stack(CHUNK), adder(CHUNK), summer(CHUNK)


@njit(inline="always")
def shares(length):
    """Masks ``[2, CHUNK]``: of a full chunk, and of a last chunk without its overlap with the one before it."""
    counts = np.ones((2, CHUNK), np.float32)
    if length % CHUNK:
        counts[1, : CHUNK - length % CHUNK] = 0
    return counts


@njit(inline="always")
def starts(queries, width):
    """Offsets of the points of ``queries`` in a flat array, with ``AHEAD`` zeros appended."""
    places = np.zeros(queries.size + AHEAD, np.uintp)
    for p in range(queries.size):
        places[p] = queries[p] * width
    return places


@njit(inline="always")
def score(kind, length, counts, query, starts, ahead, table, start, scores):
    """``points.score`` of the row at offset ``start`` with each query at offsets ``starts``.

    ``counts``: ``shares`` of ``length``, which is at least ``CHUNK``; the last chunk overlaps with the one before it.
    ``ahead``: offsets of the queries to prefetch. The next row is prefetched too.
    """
    sums_at, lanes = _stack(), np.uintp(CHUNK)
    sums, step = _array(sums_at), _step(kind, length)
    for pair in range(np.uintp(starts.size)):
        own, soon = starts[pair], ahead[pair]
        for lane in range(lanes):
            sums[lane] = ZERO
        for first in range(np.uintp(0), length, lanes):
            place = min(first, length - lanes)
            share = counts[np.uintp(first > place)]
            _fetch(kind, length, query, soon + place)
            if pair == 0:
                _fetch(kind, length, table, start + step + place)
            q_at, c_at = own + place, start + place
            for lane in range(lanes):
                q, c = query[q_at + lane], table[c_at + lane]
                if kind == MODULUS:
                    y = query[q_at + length + lane] - table[c_at + length + lane]
                    sums[lane] += share[lane] * complex_term(q - c, y)
                else:
                    sums[lane] += share[lane] * term(kind, q, c)
        scores[pair] = finish(kind, _sum(sums_at))


@njit(inline="always")
def pull(kind, length, counts, query, starts, ahead, slopes, table, start, dq, dc):
    """``points.pull`` of the row with each query; arguments as in ``score``."""
    x_at, y_at, sum_x_at, sum_y_at = _stack(), _stack(), _stack(), _stack()
    x, y, sum_x, sum_y = _array(x_at), _array(y_at), _array(sum_x_at), _array(sum_y_at)
    lanes, step = np.uintp(CHUNK), _step(kind, length)
    for first in range(np.uintp(0), length, lanes):
        place = min(first, length - lanes)
        share = counts[np.uintp(first > place)]
        row = start + place
        for lane in range(lanes):
            sum_x[lane] = ZERO
            sum_y[lane] = ZERO
        _fetch(kind, length, table, row + step)
        _fetch(kind, length, dc, row + step)
        for pair in range(np.uintp(starts.size)):
            own, slope, soon = starts[pair] + place, slopes[pair], ahead[pair] + place
            _fetch(kind, length, query, soon)
            _fetch(kind, length, dq, soon)
            for lane in range(lanes):
                q, c, weight = query[own + lane], table[row + lane], slope * share[lane]
                if kind == MODULUS:
                    v = query[own + length + lane] - table[row + length + lane]
                    x[lane], y[lane] = complex_gradients(q - c, v, weight)
                    sum_x[lane] -= x[lane]
                    sum_y[lane] -= y[lane]
                else:
                    x[lane], of_row = gradients(kind, q, c, weight)
                    sum_x[lane] += of_row
            _add(dq, own, x_at)
            if kind == MODULUS:
                _add(dq, own + length, y_at)
        _add(dc, row, sum_x_at)
        if kind == MODULUS:
            _add(dc, row + length, sum_y_at)


@njit(inline="always")
def _step(kind, length):
    """Distance between the starts of two consecutive rows."""
    return length + length if kind == MODULUS else length


@njit(inline="always")
def _fetch(kind, length, array, place):
    """Prefetch a chunk and, if complex, its imaginary half: two cache lines of 64 bytes each."""
    line = np.uintp(CHUNK // 2)
    prefetch(array, place)
    prefetch(array, place + line)
    if kind == MODULUS:
        prefetch(array, place + length)
        prefetch(array, place + length + line)


@njit(inline="always")
def _array(pointer):
    return carray(pointer, (CHUNK,))
