"""Compiled attention over modalities; a loop processes the rows ``begin…end``."""

# mypy: disable-error-code="no-untyped-def, call-arg"

import numpy as np

from mmkgc.components.kge.kernels.loops.geometries import DOT, ONE
from mmkgc.components.kge.kernels.loops.machine_code import compiled
from mmkgc.components.kge.kernels.loops.points import score


@compiled
def attend(weights, present, vectors, saturated, shares, joint, absent, begin, end):
    """Per row, shares = softmaxₘ(wₘ · saturatedₘ), logit ``absent`` if not present; joint = Σₘ sharesₘ vectorsₘ."""
    for row in range(begin, end):
        share, own = shares[row], joint[row]
        for m in range(len(vectors)):
            share[m] = score(DOT, weights[m], saturated[m][row]) if present[row, m] else absent
        share[:] = np.exp(share - share.max())
        share /= share.sum()
        own[:] = 0
        for m in range(len(vectors)):
            part, vector = share[m], vectors[m][row]
            for i in range(np.uintp(own.size)):
                own[i] += part * vector[i]


@compiled
def pull_attention(weights, present, vectors, saturated, shares, gradients, of_vectors, of_weights, begin, end):
    """The gradients of vectors, and the thread's part of that of weights, from that of ``joint``."""
    of_weights[:] = 0
    slopes = np.empty(len(vectors), np.float32)
    for row in range(begin, end):
        gradient, share = gradients[row], shares[row]
        for m in range(len(vectors)):
            slopes[m] = score(DOT, gradient, vectors[m][row])
        slopes[:] = share * (slopes - (share * slopes).sum()) * present[row]
        for m in range(len(vectors)):
            part, slope, t = share[m], slopes[m], saturated[m][row]
            weight, of_vector, of_weight = weights[m], of_vectors[m][row], of_weights[m]
            for i in range(np.uintp(t.size)):
                of_vector[i] = part * gradient[i] + slope * weight[i] * (ONE - t[i] * t[i])
            for i in range(np.uintp(t.size)):
                of_weight[i] += slope * t[i]
