"""Compiled comparison of one query with ``LANES`` candidates, one per SIMD lane.

Vectorising within a row needs a horizontal sum at the end and a remainder loop for widths that are no multiple of a
register. Vectorising across rows needs neither, and each sum stays in a register. The rows must be transposed first.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

import numpy as np
from numba import carray, njit

from mmkgc.components.kge.kernels.loops.geometries import MODULUS, ZERO, complex_term, coordinates, finish, term
from mmkgc.components.kge.kernels.loops.simd import stack, wide

LANES = 64  # four registers of 512 bits: enough independent sums to hide the latency of an addition
_stack = stack(LANES)


@njit(inline="always")
def turn(rows, columns):
    """Transpose ``rows[n, d]``, n ≤ ``LANES``, into ``columns[d, LANES]``; unused columns repeat the last row."""
    last = np.uintp(rows.shape[0] - 1)
    for i in range(np.uintp(columns.shape[0])):
        for lane in range(np.uintp(LANES)):  # a fixed number of iterations is vectorised
            columns[i, lane] = rows[min(lane, last), i]


@njit(inline="always")
def score(kind, q, columns, scores):
    """``points.score`` of ``q[d]`` with the first ``scores.size`` columns."""
    wide()
    sums = carray(_stack(), (LANES,))
    lanes, length = np.uintp(LANES), coordinates(kind, q.size)
    for lane in range(lanes):
        sums[lane] = ZERO
    for i in range(length):
        for lane in range(lanes):
            if kind == MODULUS:
                x, y = q[i] - columns[i, lane], q[length + i] - columns[length + i, lane]
                sums[lane] += complex_term(x, y)
            else:
                sums[lane] += term(kind, q[i], columns[i, lane])
    for lane in range(lanes):  # same length as above, otherwise the sums would be stored in memory
        if lane < np.uintp(scores.size):
            scores[lane] = finish(kind, sums[lane])
