"""What one coordinate adds to a score and to its gradients: the one place that defines a compiled geometry.

``points``, ``chunks`` and ``lanes`` are the loops over coordinates; they call these functions, which are inlined. The
kind is a constant where a loop is compiled, so only its own branch remains.
"""

# mypy: disable-error-code="no-untyped-def"

from math import copysign, sqrt

import numpy as np
from numba import njit

DOT, L1, L2, MODULUS = range(4)

ZERO, ONE = np.float32(0), np.float32(1)
EPSILON = np.float32(1e-18)  # as in interactions.geometry: added under a root, so that the gradient at zero is 0


@njit(inline="always")
def coordinates(kind, width):
    """Number of coordinates of a point of ``width`` floats; complex ones count once, both parts together."""
    return np.uintp(width // 2 if kind == MODULUS else width)


@njit(inline="always")
def term(kind, q, c):
    """The summand q·c, −|q − c| or (q − c)² of a real coordinate."""
    if kind == DOT:
        return q * c
    if kind == L1:
        return -abs(q - c)
    return (q - c) * (q - c)


@njit(inline="always")
def complex_term(x, y):
    """The summand −|q − c| of a complex coordinate with q − c = x + iy."""
    return -root(x * x + y * y + EPSILON)


@njit(inline="always")
def finish(kind, total):
    """The score whose summands add up to ``total``."""
    return -sqrt(total) if kind == L2 else total


@njit(inline="always")
def gradients(kind, q, c, slope):
    """``slope`` times the derivatives by q and c of the score; for L2, ``slope`` is divided by the score."""
    if kind == DOT:
        return slope * c, slope * q
    u = q - c
    if kind == L1:
        u = -(np.float32(copysign(ONE, u)) if u != ZERO else ZERO)
    u = slope * u
    return u, -u


@njit(inline="always")
def complex_gradients(x, y, slope):
    """``slope`` times the derivatives of ``complex_term`` by the parts of q; those by c have the other sign."""
    scale = -slope / sqrt(x * x + y * y + EPSILON)
    return scale * x, scale * y


@njit(fastmath={"arcp", "afn", "contract"}, error_model="numpy")
def root(x):
    """√x as x · (1/√x): an estimated and refined reciprocal root takes half the time of a root.

    ``reassoc`` is off, since the compiler would turn the expression back into √x.
    """
    return x * (ONE / sqrt(x))
