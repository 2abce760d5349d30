"""Compiled gradients of a row of the table and of all queries that it meets, ``CHUNK`` coordinates at a time.

The row's coordinates, and the sum of what its queries add to its gradient, stay in registers while the queries pass;
pair by pair (``points.pull``) both are read and written for each of them. Arrays are flat.
"""

# mypy: disable-error-code="no-untyped-def"

from math import copysign, sqrt

import numpy as np
from numba import carray, njit

from components.kge.kernels.points import DOT, EPSILON, L1, MODULUS, ONE, ZERO
from components.kge.kernels.simd import adder, stack

CHUNK = 32  # two registers of 512 bits; a loop over fewer would be unrolled before it could become SIMD
_stack, _add = stack(CHUNK), adder(CHUNK)


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
def pull(kind, length, counts, query, starts, slopes, table, start, dq, dc):
    """``points.pull`` of the row that begins at ``start`` and the queries that begin at ``starts``.

    ``counts``: ``shares`` of ``length``, which is at least a chunk; the last chunk overlaps with the one before it.
    """
    x_at, y_at, sum_x_at, sum_y_at = _stack(), _stack(), _stack(), _stack()
    x, y, sum_x, sum_y = _array(x_at), _array(y_at), _array(sum_x_at), _array(sum_y_at)
    lanes = np.uintp(CHUNK)
    for first in range(np.uintp(0), length, lanes):
        place = min(first, length - lanes)
        share = counts[np.uintp(first > place)]
        row = start + place
        for lane in range(lanes):
            sum_x[lane] = ZERO
            sum_y[lane] = ZERO
        for pair in range(np.uintp(starts.size)):
            own, slope = starts[pair] + place, slopes[pair]
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
def _array(pointer):
    return carray(pointer, (CHUNK,))
