"""Penalised logistic regression by Newton's method. T rows, F features."""

import torch
from torch import Tensor

STEPS, LONGEST_STEP, SMALLEST_STEP = 100, 5.0, 1e-10


def fit_logistic(design: Tensor, targets: Tensor, precision: Tensor, offset: Tensor | None = None) -> Tensor:
    """Weights w, float64 ``[F]``, that minimise Σ cross-entropy(targets, σ(design · w + offset)) + ½ Σ precision · w².

    ``design`` float64 ``[T, F]``; ``targets`` float64 ``[T]`` in [0, 1]; ``precision`` float64 ``[F]``: of a Gaussian
    prior around zero; ``offset`` ``[T]``: log-odds that are given.
    """
    weights = design.new_zeros(design.shape[1])
    for _ in range(STEPS):
        logits = design @ weights if offset is None else design @ weights + offset
        probability = torch.sigmoid(logits)
        gradient = design.T @ (probability - targets) + precision * weights
        curvature = (design * (probability * (1 - probability)).unsqueeze(1)).T @ design + precision.diag()
        step = torch.linalg.solve(curvature, gradient)
        weights = weights - step.clamp(-LONGEST_STEP, LONGEST_STEP)
        if step.abs().max() < SMALLEST_STEP:
            break
    return weights


def smoothed(right: Tensor) -> Tensor:
    """Platt's targets ``[T]`` of bool ``right[T]``: (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2), which keep slopes finite."""
    positive = right.double().sum()
    return torch.where(right, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2))
