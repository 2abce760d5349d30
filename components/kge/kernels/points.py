"""Compiled comparisons of two points, and their gradients; inlined into ``loops``.

A point is ``[parts, d]``: one part, or the real and the imaginary one. The loops touch few arrays each: of many, the
compiler cannot exclude that they overlap, and there would be no SIMD.
"""

# mypy: disable-error-code="no-untyped-def"

from math import sqrt

import numpy as np
from numba import njit

DOT, L1, L2, MODULUS = range(4)

ZERO = np.float32(0)
EPSILON = np.float32(1e-18)  # as in geometry: under a root, so that its gradient at zero is 0


@njit(inline="always")
def score(kind, q, c):
    """q·c, −‖q − c‖₁, −‖q − c‖₂ or −Σᵢ|qᵢ − cᵢ| of complex coordinates."""
    if kind == DOT:
        return _dot(q[0], c[0])
    if kind == L1:
        return -_l1(q[0], c[0])
    if kind == L2:
        return -_l2(q[0], c[0])
    return -_modulus(q[0], q[1], c[0], c[1])


@njit(inline="always")
def pull(kind, q, c, slope, dq, dc, scratch):
    """Add ``slope`` times the gradient of ``score`` to ``dq`` and ``dc``; L2's slope comes divided by the score."""
    if kind == DOT:
        _pull_dot(q[0], c[0], slope, dq[0], dc[0])
    elif kind == L1:
        _pull_l1(q[0], c[0], slope, dq[0], dc[0])
    elif kind == L2:
        _pull_l2(q[0], c[0], slope, dq[0], dc[0])
    else:
        _inverse_moduli(q[0], q[1], c[0], c[1], slope, scratch)
        _pull_scaled(q[0], c[0], scratch, dq[0], dc[0])
        _pull_scaled(q[1], c[1], scratch, dq[1], dc[1])


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
def _modulus(q_real, q_imaginary, c_real, c_imaginary):
    total = ZERO
    for i in range(q_real.size):
        x, y = q_real[i] - c_real[i], q_imaginary[i] - c_imaginary[i]
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
        x = slope * (np.float32(x > ZERO) - np.float32(x < ZERO))
        dq[i] -= x
        dc[i] += x


@njit(inline="always")
def _pull_l2(q, c, slope, dq, dc):
    for i in range(q.size):
        x = slope * (q[i] - c[i])
        dq[i] += x
        dc[i] -= x


@njit(inline="always")
def _inverse_moduli(q_real, q_imaginary, c_real, c_imaginary, slope, scratch):
    for i in range(q_real.size):
        x, y = q_real[i] - c_real[i], q_imaginary[i] - c_imaginary[i]
        scratch[i] = slope / sqrt(x * x + y * y + EPSILON)


@njit(inline="always")
def _pull_scaled(q, c, scratch, dq, dc):
    for i in range(q.size):
        x = scratch[i] * (q[i] - c[i])
        dq[i] -= x
        dc[i] += x
