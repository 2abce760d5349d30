"""Compiled comparisons of two points, and their gradients; inlined into ``loops``.

A point is ``[d]``; of complex coordinates, the first half is real and the second imaginary. Offsets into a point are
unsigned, because numba checks signed ones for negative values, which prevents SIMD. Loops over many arrays are not
vectorised either, because the compiler cannot exclude that they overlap.
"""

# mypy: disable-error-code="no-untyped-def"

from math import copysign, sqrt

import numpy as np
from numba import njit

DOT, L1, L2, MODULUS = range(4)

ZERO, ONE = np.float32(0), np.float32(1)
EPSILON = np.float32(1e-18)  # as in geometry: added under a root, so that the gradient at zero is 0


@njit(inline="always")
def score(kind, q, c):
    """q·c, −‖q − c‖₁, −‖q − c‖₂ or −Σᵢ|qᵢ − cᵢ| of complex coordinates."""
    if kind == DOT:
        return _dot(q, c)
    if kind == L1:
        return -_l1(q, c)
    if kind == L2:
        return -_l2(q, c)
    return -_modulus(q, c)


@njit(inline="always")
def pull(kind, q, c, slope, dq, dc):
    """Add ``slope`` times the gradient of ``score`` to ``dq`` and ``dc``; for L2, ``slope`` is divided by the score."""
    if kind == DOT:
        _pull_dot(q, c, slope, dq, dc)
    elif kind == L1:
        _pull_l1(q, c, slope, dq, dc)
    elif kind == L2:
        _pull_l2(q, c, slope, dq, dc)
    else:
        _pull_modulus(q, c, slope, dq, dc)


@njit(inline="always")
def _dot(q, c):
    total = ZERO
    for i in range(q.size):
        total += q[i] * c[i]
    return total


@njit(inline="always")
def _l1(q, c):
    total = ZERO
    for i in range(q.size):
        total += abs(q[i] - c[i])
    return total


@njit(inline="always")
def _l2(q, c):
    total = ZERO
    for i in range(q.size):
        total += (q[i] - c[i]) * (q[i] - c[i])
    return sqrt(total)


@njit(inline="always")
def _modulus(q, c):
    half, total = np.uintp(q.size // 2), ZERO
    for i in range(half):
        x, y = q[i] - c[i], q[half + i] - c[half + i]
        total += sqrt(x * x + y * y + EPSILON)
    return total


@njit(inline="always")
def _pull_dot(q, c, slope, dq, dc):
    for i in range(q.size):
        dq[i] += slope * c[i]
        dc[i] += slope * q[i]


@njit(inline="always")
def _pull_l1(q, c, slope, dq, dc):
    for i in range(q.size):
        x = q[i] - c[i]
        x = slope * np.float32(copysign(ONE, x)) if x != ZERO else ZERO
        dq[i] -= x
        dc[i] += x


@njit(inline="always")
def _pull_l2(q, c, slope, dq, dc):
    for i in range(q.size):
        x = slope * (q[i] - c[i])
        dq[i] += x
        dc[i] -= x


@njit(inline="always")
def _pull_modulus(q, c, slope, dq, dc):
    half = np.uintp(q.size // 2)
    for i in range(half):
        x, y = q[i] - c[i], q[half + i] - c[half + i]
        scale = slope / sqrt(x * x + y * y + EPSILON)
        x, y = scale * x, scale * y
        dq[i] -= x
        dq[half + i] -= y
        dc[i] += x
        dc[half + i] += y


@njit(fastmath={"arcp", "afn", "contract"}, error_model="numpy")
def root(x):
    """√x as x · (1/√x): an estimated and refined reciprocal root takes half the time of a root.

    ``reassoc`` is off, since the compiler would turn the expression back into √x.
    """
    return x * (ONE / sqrt(x))
