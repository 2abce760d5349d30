"""Compiled comparisons of a row of the table with all queries that it meets, ``CHUNK`` coordinates at a time.

In the gradient the row's coordinates, and the sum of what its queries add to its own, stay in registers while the
queries pass; pair by pair (``points.pull``) both are read and written for each of them. Queries come in no order that a
processor could guess, and they leave it no room to keep track of the table either: what will be needed is asked for
before its turn. Arrays are flat.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

from math import copysign, sqrt

import numpy as np
from numba import carray, njit

from mmkgc.components.kge.kernels.points import DOT, EPSILON, L1, L2, MODULUS, ONE, ZERO, root
from mmkgc.components.kge.kernels.simd import adder, prefetch, stack, summer

CHUNK = 32  # two registers of 512 bits; a loop over fewer would be unrolled before it could become SIMD
AHEAD = 4  # pairs, from which a query is asked for to its turn
_stack, _add, _sum = stack(CHUNK), adder(CHUNK), summer(CHUNK)


@njit(inline="always")
def length(kind, width):
    """Coordinates to go through: of complex ones the imaginary halves come along."""
    return np.uintp(width // 2 if kind == MODULUS else width)


@njit(inline="always")
def shares(length):
    """What counts of a chunk ``[2, CHUNK]``: all, and what a last one does not share with the one before it."""
    counts = np.ones((2, CHUNK), np.float32)
    if length % CHUNK:
        counts[1, : CHUNK - length % CHUNK] = 0
    return counts


@njit(inline="always")
def starts(queries, width):
    """Where the points of ``queries`` begin in a flat array, and ``AHEAD`` more."""
    places = np.zeros(queries.size + AHEAD, np.uintp)
    for p in range(queries.size):
        places[p] = queries[p] * width
    return places


@njit(inline="always")
def score(kind, length, counts, query, starts, ahead, table, start, scores):
    """``points.score`` of the row that begins at ``start`` and each query that begins at one of ``starts``.

    ``counts``: ``shares`` of ``length``, which is at least a chunk; the last chunk overlaps with the one before it.
    ``ahead``: where the queries begin that will be needed soon; the next row will be as well.
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
                if kind == DOT:
                    sums[lane] += share[lane] * q * c
                elif kind == MODULUS:
                    u, v = q - c, query[q_at + length + lane] - table[c_at + length + lane]
                    sums[lane] -= share[lane] * root(u * u + v * v + EPSILON)
                elif kind == L1:
                    sums[lane] -= share[lane] * abs(q - c)
                else:
                    sums[lane] += share[lane] * (q - c) * (q - c)
        total = _sum(sums_at)
        scores[pair] = -sqrt(total) if kind == L2 else total


@njit(inline="always")
def pull(kind, length, counts, query, starts, ahead, slopes, table, start, dq, dc):
    """``points.pull`` of the row and the queries of ``score``."""
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
                if kind == DOT:
                    x[lane] = weight * c
                    sum_x[lane] += weight * q
                elif kind == MODULUS:
                    u, v = c - q, table[row + length + lane] - query[own + length + lane]
                    scale = weight / sqrt(u * u + v * v + EPSILON)
                    x[lane], y[lane] = scale * u, scale * v
                    sum_x[lane] -= scale * u
                    sum_y[lane] -= scale * v
                else:
                    u = c - q
                    u = (np.float32(copysign(ONE, u)) if u != ZERO else ZERO) if kind == L1 else -u
                    x[lane] = weight * u
                    sum_x[lane] -= weight * u
            _add(dq, own, x_at)
            if kind == MODULUS:
                _add(dq, own + length, y_at)
        _add(dc, row, sum_x_at)
        if kind == MODULUS:
            _add(dc, row + length, sum_y_at)


@njit(inline="always")
def _step(kind, length):
    """From one row to the next."""
    return length + length if kind == MODULUS else length


@njit(inline="always")
def _fetch(kind, length, array, place):
    """Ask for a chunk, and for its imaginary half: two lines of 64 bytes each."""
    line = np.uintp(CHUNK // 2)
    prefetch(array, place)
    prefetch(array, place + line)
    if kind == MODULUS:
        prefetch(array, place + length)
        prefetch(array, place + length + line)


@njit(inline="always")
def _array(pointer):
    return carray(pointer, (CHUNK,))
