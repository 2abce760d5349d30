"""Calibration: from a score to the probability that the answer is right.

It is fitted on what people see: the ten best answers to the queries of the development split that the graph does not
hold, each right if it is a development triple. Of the answers shown with 40 %, about 4 in 10 are right.

    p = σ(a · score + b · margin + c + d_slot)

The margin is the score less that of the best other unknown candidate; a slot is a relation and the side that is asked
for. The d_slot have a Gaussian prior (``SHRINKAGE``), so that a slot with few answers stays near the others. Triples
that are given whole have no margin and get a second map without it.

**What it holds for.** Every query of the fit has at least one held-out answer. For a query that has none, or whose
answers the graph already holds, the probability is too high; and a true answer in no split counts as wrong.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.answers import COUNT, Answers, best_answers
from mmkgc.components.kge.evaluation.logistic import fit_logistic_by_slot, smoothed
from mmkgc.components.kge.evaluation.ranks import Scorer
from mmkgc.components.kge.graph import KnownTriples

Method = Literal["platt", "isotonic"]
SHRINKAGE = 1.0
"""Precision of the prior of d_slot."""


def calibrate(
    model: Scorer,
    train: Tensor,
    valid: Tensor,
    n_entities: int,
    n_relations: int,
    method: Method,
    false: Tensor | None = None,
) -> dict[str, Any]:
    """Fit the maps on the answers to the queries of the development split; a JSON value for ``probability``.

    Only train and valid are used, and ``false`` triples, which are shown to nobody. An answer that is a test triple
    counts as wrong; leaving it out would leak test.
    """
    sizes = n_entities, n_relations
    refuted = None if false is None else KnownTriples(false, *sizes)
    answers = best_answers(model, valid, KnownTriples(train, *sizes), COUNT, refuted)
    counts = {"answers": len(answers.right), "right": int(answers.right.sum())}
    if method == "isotonic":
        return fit_isotonic(answers.scores, answers.right.double()) | counts
    alone = Answers(answers.slots, answers.scores, torch.zeros_like(answers.margins), answers.right, answers.first)
    maps = {"answer": fit_platt(answers, 2 * n_relations), "triple": fit_platt(alone, 2 * n_relations)}
    return {"method": "platt", **maps, **counts}


def fit_platt(answers: Answers, n_slots: int) -> dict[str, Any]:
    """Penalised logistic regression of ``right`` on score, margin and slot, by Newton's method.

    Platt 1999 with his smoothed targets. Scores are standardised inside, so that their scale does not matter.
    """
    mean, scale = answers.scores.mean(), answers.scores.std(correction=0).clamp(min=1e-12)
    columns = [(answers.scores - mean) / scale, answers.margins / scale, torch.ones_like(answers.scores)]
    precision, shrinkage = torch.full((3,), 1e-6, dtype=torch.float64), torch.full((n_slots,), SHRINKAGE).double()
    shared = torch.stack(columns, dim=1)
    weights, own = fit_logistic_by_slot(shared, answers.slots, smoothed(answers.right), precision, shrinkage)
    slope, margin = weights[:2] / scale
    intercepts = weights[2] - slope * mean + own
    return {"slope": float(slope), "margin": float(margin), "intercepts": intercepts.tolist()}


def fit_isotonic(scores: Tensor, labels: Tensor) -> dict[str, Any]:
    """Best non-decreasing step map of scores ``[T]`` to labels 0/1 ``[T]`` (pool adjacent violators), as its knots."""
    from scipy.optimize import isotonic_regression

    levels, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    means = torch.zeros_like(levels).index_add(0, inverse, labels) / counts
    fitted = torch.from_numpy(isotonic_regression(means.numpy(), weights=counts.double().numpy()).x)
    inside = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    knot = torch.cat([torch.tensor([True]), ~inside, torch.tensor([True])])[: len(levels)]
    return {"method": "isotonic", "scores": levels[knot].tolist(), "probabilities": fitted[knot].tolist()}


def probability(calibration: dict[str, Any], scores: Tensor, slots: Tensor, margins: Tensor | None = None) -> Tensor:
    """Calibrated probability of ``scores`` (any shape), float64; ``slots`` and ``margins`` have the same shape.

    Without ``margins``: of triples that are given whole. Maps of earlier bundles know the score alone.
    """
    scores = scores.double()
    if calibration["method"] == "isotonic":
        return _interpolated(scores, *(scores.new_tensor(calibration[key]) for key in ("scores", "probabilities")))
    if "intercept" in calibration:
        return torch.sigmoid(calibration["slope"] * scores + calibration["intercept"])
    fitted = calibration["triple" if margins is None else "answer"]
    logits = fitted["slope"] * scores + scores.new_tensor(fitted["intercepts"])[slots]
    return torch.sigmoid(logits if margins is None else logits + fitted["margin"] * margins.double())


def expected_error(
    probabilities: Tensor | np.ndarray | Sequence[float], right: Tensor | np.ndarray | Sequence[bool], bins: int = 10
) -> float:
    """Expected calibration error: mean |probability − share of right answers| over ``bins`` groups of equal size."""
    chances, truth = np.asarray(probabilities, float), np.asarray(right, float)
    groups = [group for group in np.array_split(np.argsort(chances, kind="stable"), bins) if len(group)]
    return float(sum(len(group) * abs(chances[group].mean() - truth[group].mean()) for group in groups) / len(chances))


def error_by_chance(probabilities: Tensor | np.ndarray | Sequence[float], bins: int = 10, draws: int = 200) -> float:
    """The expected calibration error that probabilities have on average if each of them is exactly right.

    It comes from the few answers in each group. The mean over ``draws`` of right and wrong answers, always the same.
    """
    chances, random = np.asarray(probabilities, float), np.random.default_rng(0)
    return float(np.mean([expected_error(chances, random.random(len(chances)) < chances, bins) for _ in range(draws)]))


def _interpolated(scores: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear between the knots, constant outside them."""
    if len(knots) == 1:
        return values.expand(scores.shape).clone()
    right = torch.searchsorted(knots, scores.contiguous()).clamp(1, len(knots) - 1)
    share = ((scores - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], share)
