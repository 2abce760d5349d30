"""Compiled comparison of one query with ``LANES`` candidates, one per SIMD lane.

Vectorising within a row needs a horizontal sum at the end and a remainder loop for widths that are no multiple of a
register. Vectorising across rows needs neither, and each sum stays in a register. The rows must be transposed first.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

from math import sqrt

import numpy as np
from numba import carray, njit

from mmkgc.components.kge.kernels.points import DOT, EPSILON, L1, L2, MODULUS, ZERO, root
from mmkgc.components.kge.kernels.simd import stack, wide

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
    lanes, half = np.uintp(LANES), np.uintp(q.size // 2)
    for lane in range(lanes):
        sums[lane] = ZERO
    if kind == MODULUS:
        for i in range(half):
            for lane in range(lanes):
                x, y = q[i] - columns[i, lane], q[half + i] - columns[half + i, lane]
                sums[lane] -= root(x * x + y * y + EPSILON)
    else:
        for i in range(np.uintp(q.size)):
            for lane in range(lanes):
                c = columns[i, lane]
                if kind == DOT:
                    sums[lane] += q[i] * c
                elif kind == L1:
                    sums[lane] -= abs(q[i] - c)
                else:
                    sums[lane] += (q[i] - c) * (q[i] - c)
    for lane in range(lanes):  # same length as above, otherwise the sums would be stored in memory
        if lane < np.uintp(scores.size):
            scores[lane] = -sqrt(sums[lane]) if kind == L2 else sums[lane]
