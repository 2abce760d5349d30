"""Penalised logistic regression by Newton's method. T rows, F features, S slots."""

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


def fit_logistic_by_slot(
    shared: Tensor, slots: Tensor, targets: Tensor, precision: Tensor, shrinkage: Tensor
) -> tuple[Tensor, Tensor]:
    """``fit_logistic`` of features ``shared`` ``[T, F]`` and an intercept a slot: weights ``[F]``, intercepts ``[S]``.

    ``slots`` int64 ``[T]``: of each row; ``precision`` ``[F]`` and ``shrinkage`` ``[S]``: of the prior. The columns of
    the intercepts, which are one in one slot and zero in all others, are never made: they would be T · S numbers.
    Their part of the curvature is a diagonal D, so that the step of the weights follows from its Schur complement.
    """
    weights, intercepts = torch.zeros_like(precision), torch.zeros_like(shrinkage)

    def by_slot(values: Tensor) -> Tensor:
        return values.new_zeros(len(shrinkage), *values.shape[1:]).index_add(0, slots, values)

    for _ in range(STEPS):
        probability = torch.sigmoid(shared @ weights + intercepts[slots])
        error, spread = probability - targets, probability * (1 - probability)
        diagonal, mixed = by_slot(spread) + shrinkage, by_slot(shared * spread.unsqueeze(1))  # D [S]; [S, F]
        gradient, slot_gradient = shared.T @ error + precision * weights, by_slot(error) + shrinkage * intercepts
        curvature = (shared * spread.unsqueeze(1)).T @ shared + precision.diag()
        over = (mixed / diagonal.unsqueeze(1)).T
        step = torch.linalg.solve(curvature - over @ mixed, gradient - over @ slot_gradient)
        slot_step = (slot_gradient - mixed @ step) / diagonal
        weights = weights - step.clamp(-LONGEST_STEP, LONGEST_STEP)
        intercepts = intercepts - slot_step.clamp(-LONGEST_STEP, LONGEST_STEP)
        if max(step.abs().max(), slot_step.abs().max()) < SMALLEST_STEP:
            break
    return weights, intercepts


def smoothed(right: Tensor) -> Tensor:
    """Platt's targets ``[T]`` of bool ``right[T]``: (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2), which keep slopes finite."""
    positive = right.double().sum()
    return torch.where(right, (positive + 1) / (positive + 2), 1 / (len(right) - positive + 2))
