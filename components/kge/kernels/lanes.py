"""Compiled comparison of one query with ``LANES`` candidates, each in a SIMD lane of its own.

Within a row, a sum's last step adds lanes to each other, and a width that is no multiple of a register leaves a rest;
across rows there is neither, and a sum stays in its register for all coordinates. The rows have to be turned first.
"""

# mypy: disable-error-code="no-untyped-def, call-arg"

from math import sqrt

import numpy as np
from numba import carray, njit

from mmkgc.components.kge.kernels.points import DOT, EPSILON, L1, L2, MODULUS, ZERO, root
from mmkgc.components.kge.kernels.simd import stack, wide

LANES = 64  # four registers of 512 bits: enough sums under way to hide the latency of each
_stack = stack(LANES)


@njit(inline="always")
def turn(rows, columns):
    """Put up to ``LANES`` ``rows[n, d]`` into the first of ``columns[d, LANES]``; the others repeat the last row."""
    last = np.uintp(rows.shape[0] - 1)
    for i in range(np.uintp(columns.shape[0])):
        for lane in range(np.uintp(LANES)):  # a fixed number is SIMD
            columns[i, lane] = rows[min(lane, last), i]


@njit(inline="always")
def score(kind, q, columns, scores):
    """``points.score`` of ``q[d]`` with as many columns as there are places in ``scores``."""
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
    for lane in range(lanes):  # as often as above, or the sums would need memory
        if lane < np.uintp(scores.size):
            scores[lane] = -sqrt(sums[lane]) if kind == L2 else sums[lane]
