"""Compiled comparisons of two points, and their gradients.

A point is ``[d]``; of complex coordinates, the first half is real and the second imaginary. Offsets into a point are
unsigned, because numba checks signed ones for negative values, which prevents SIMD. Loops over many arrays are not
vectorised either, because the compiler cannot exclude that they overlap.
"""

# mypy: disable-error-code="no-untyped-def"

from numba import njit

from mmkgc.components.kge.kernels.loops.geometries import (
    MODULUS,
    ZERO,
    complex_gradients,
    complex_term,
    coordinates,
    finish,
    gradients,
    term,
)


@njit(inline="always")
def score(kind, q, c):
    """q·c, −‖q − c‖₁, −‖q − c‖₂ or −Σᵢ|qᵢ − cᵢ| of complex coordinates."""
    length, total = coordinates(kind, q.size), ZERO
    for i in range(length):
        if kind == MODULUS:
            total += complex_term(q[i] - c[i], q[length + i] - c[length + i])
        else:
            total += term(kind, q[i], c[i])
    return finish(kind, total)


@njit(inline="always")
def pull(kind, q, c, slope, dq, dc):
    """Add ``slope`` times the gradient of ``score`` to ``dq`` and ``dc``; for L2, ``slope`` is divided by the score."""
    length = coordinates(kind, q.size)
    for i in range(length):
        if kind == MODULUS:
            x, y = complex_gradients(q[i] - c[i], q[length + i] - c[length + i], slope)
            dq[i] += x
            dq[length + i] += y
            dc[i] -= x
            dc[length + i] -= y
        else:
            of_q, of_c = gradients(kind, q[i], c[i], slope)
            dq[i] += of_q
            dc[i] += of_c
