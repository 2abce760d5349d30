"""Compiled rotations of complex coordinates; a loop processes the rows ``begin…end``."""

# mypy: disable-error-code="no-untyped-def, call-arg"

import numpy as np

from mmkgc.components.kge.kernels.loops.machine_code import compiled


@compiled
def rotate(vectors, cosines, sines, rotated, begin, end):
    """rotated = vectors ∘ e^{i phases}, of complex coordinates."""
    d = np.uintp(cosines.shape[1])
    for b in range(begin, end):
        v, cosine, sine, r = vectors[b], cosines[b], sines[b], rotated[b]
        for i in range(d):
            r[i] = v[i] * cosine[i] - v[d + i] * sine[i]
        for i in range(d):
            r[d + i] = v[i] * sine[i] + v[d + i] * cosine[i]


@compiled
def pull_rotation(gradients, cosines, sines, rotated, of_vectors, of_phases, begin, end):
    """The gradients of vectors and phases from that of ``rotated``; the derivative by a phase is i times the result."""
    d = np.uintp(cosines.shape[1])
    for b in range(begin, end):
        g, cosine, sine, r = gradients[b], cosines[b], sines[b], rotated[b]
        of_vector, of_phase = of_vectors[b], of_phases[b]
        for i in range(d):
            of_vector[i] = g[i] * cosine[i] + g[d + i] * sine[i]
        for i in range(d):
            of_vector[d + i] = g[d + i] * cosine[i] - g[i] * sine[i]
        for i in range(d):
            of_phase[i] = g[d + i] * r[i] - g[i] * r[d + i]
