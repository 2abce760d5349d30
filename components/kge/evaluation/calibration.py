"""Calibration of scores to probabilities by a monotone map, fitted on true and corrupted triples.

**Base rate.** A calibrated probability answers "is this triple the true one of a true and a corrupted triple, equally
many of each?". Among all candidate answers of a query true triples are rare, so the share of true ones at probability p
is far below p there. Use it to compare and to threshold triples, not as a frequency over arbitrary candidates.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples

Method = Literal["platt", "isotonic"]
ATTEMPTS = 50
BLOCK = 4096


class UniformNegatives:
    """Corrupts triples by entities drawn uniformly from all, head or tail with probability ½."""

    def __init__(self, n_entities: int) -> None:
        self.n_entities = n_entities

    def pair(self, triples: Tensor, known: KnownTriples, seed: int) -> tuple[Tensor, Tensor]:
        """One negative for each of ``triples`` ``[T, 3]``: positives and negatives, row by row, each ``[T', 3]``.

        No negative is in ``known``. A triple for which no negative is found is left out of both.
        """
        generator = torch.Generator().manual_seed(seed)
        negatives = triples.clone()
        slots = torch.where(torch.rand(len(triples), generator=generator) < 0.5, HEAD, TAIL)
        pending = torch.arange(len(triples))
        for attempt in range(ATTEMPTS):
            drawn = self.draw(triples[pending, RELATION], slots[pending], generator, attempt)
            negatives[pending, slots[pending]] = drawn
            pending = pending[known.contains(negatives[pending]) | (negatives[pending] == triples[pending]).all(1)]
        kept = torch.ones(len(triples), dtype=torch.bool)
        kept[pending] = False
        return triples[kept], negatives[kept]

    def draw(self, relations: Tensor, slots: Tensor, generator: torch.Generator, attempt: int) -> Tensor:
        """Entities ``[B]`` for the slots (head or tail) of triples with ``relations[B]``."""
        return torch.randint(self.n_entities, relations.shape, generator=generator)


class PlausibleNegatives(UniformNegatives):
    """Corrupts triples as Socher et al. 2013 do: the new entity occurs in train in that slot of that relation.

    Such negatives have the right type (a city for a capital), so distinguishing types is not enough. After half of all
    attempts, entities are drawn from all, in case the relation offers none that makes an unknown triple.
    """

    def __init__(self, train: Tensor, n_entities: int, n_relations: int) -> None:
        super().__init__(n_entities)
        self._pools = {slot: _Pool(train, slot, n_relations) for slot in (HEAD, TAIL)}

    def draw(self, relations: Tensor, slots: Tensor, generator: torch.Generator, attempt: int) -> Tensor:
        """As in the base class."""
        if attempt >= ATTEMPTS // 2:
            return super().draw(relations, slots, generator, attempt)
        luck = torch.rand(len(relations), generator=generator, dtype=torch.float64)
        heads, tails = (self._pools[slot].at(relations, luck, self.n_entities) for slot in (HEAD, TAIL))
        return torch.where(slots == HEAD, heads, tails)


class _Pool:
    """Distinct entities of one slot, relation by relation."""

    def __init__(self, train: Tensor, slot: int, n_relations: int) -> None:
        pairs = torch.unique(train[:, [RELATION, slot]], dim=0)
        self.entities = pairs[:, 1]
        self.sizes = torch.bincount(pairs[:, 0], minlength=n_relations)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def at(self, relations: Tensor, luck: Tensor, n_entities: int) -> Tensor:
        """The entity at the fraction ``luck`` ∈ [0, 1) of each relation's pool, or of all entities if empty."""
        sizes = self.sizes[relations]
        if not len(self.entities):
            return (luck * n_entities).long()
        position = (self.starts[relations] + (luck * sizes).long()).clamp(max=len(self.entities) - 1)
        return torch.where(sizes > 0, self.entities[position], (luck * n_entities).long())


@torch.no_grad()
def triple_scores(model: Any, triples: Tensor) -> Tensor:
    """Scores of ``triples`` ``[T, 3]``, in blocks: float64 ``[T]`` on the CPU."""
    device = next(model.parameters()).device
    blocks = [model.score_triples(block.to(device)).double().cpu() for block in triples.split(BLOCK)]
    return torch.cat(blocks) if blocks else torch.empty(0, dtype=torch.float64)


def calibrate(
    model: Any, train: Tensor, valid: Tensor, n_entities: int, n_relations: int, method: Method, seed: int
) -> dict[str, Any]:
    """Fit the map on the development split and one plausible negative for each of its triples.

    Only train and valid are used. A negative that is a test triple is kept; removing it would leak test into the map.
    Returns a JSON value for ``probability``.
    """
    known = KnownTriples(torch.cat([train, valid]), n_entities, n_relations)
    positives, negatives = PlausibleNegatives(train, n_entities, n_relations).pair(valid, known, seed)
    scores = torch.cat([triple_scores(model, positives), triple_scores(model, negatives)])
    labels = torch.cat([torch.ones(len(positives)), torch.zeros(len(negatives))]).double()
    fit = {"platt": fit_platt, "isotonic": fit_isotonic}[method]
    return fit(scores, labels) | {"pairs": len(positives), "seed": seed}


def fit_platt(scores: Tensor, labels: Tensor) -> dict[str, Any]:
    """Logistic map p = σ(slope · s + intercept) of scores ``[T]`` to labels 0/1 ``[T]``, by Newton's method.

    Platt 1999 with his smoothed targets (N₊ + 1)/(N₊ + 2) and 1/(N₋ + 2), which keep the slope finite when the scores
    separate the labels. Scores are standardised inside, so that their scale does not matter.
    """
    positive = labels.sum()
    targets = torch.where(labels > 0, (positive + 1) / (positive + 2), 1 / (len(labels) - positive + 2))
    mean, scale = scores.mean(), scores.std(correction=0).clamp(min=1e-12)
    design = torch.stack([(scores - mean) / scale, torch.ones_like(scores)], dim=1)
    weights = design.new_zeros(2)
    ridge = 1e-9 * torch.eye(2, dtype=design.dtype)
    for _ in range(100):
        probability = torch.sigmoid(design @ weights)
        gradient = design.T @ (probability - targets)
        curvature = (design * (probability * (1 - probability)).unsqueeze(1)).T @ design + ridge
        step = torch.linalg.solve(curvature, gradient)
        weights = weights - step.clamp(-5, 5)
        if step.abs().max() < 1e-10:
            break
    slope = weights[0] / scale
    return {"method": "platt", "slope": float(slope), "intercept": float(weights[1] - slope * mean)}


def fit_isotonic(scores: Tensor, labels: Tensor) -> dict[str, Any]:
    """Best non-decreasing step map of scores ``[T]`` to labels 0/1 ``[T]`` (pool adjacent violators), as its knots."""
    from scipy.optimize import isotonic_regression

    levels, inverse, counts = torch.unique(scores, return_inverse=True, return_counts=True)
    means = torch.zeros_like(levels).index_add(0, inverse, labels) / counts
    fitted = torch.from_numpy(isotonic_regression(means.numpy(), weights=counts.double().numpy()).x)
    inside = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    knot = torch.cat([torch.tensor([True]), ~inside, torch.tensor([True])])[: len(levels)]
    return {"method": "isotonic", "scores": levels[knot].tolist(), "probabilities": fitted[knot].tolist()}


def probability(calibration: dict[str, Any], scores: Tensor) -> Tensor:
    """Calibrated probability of ``scores`` (any shape), float64; see the base-rate caveat above."""
    scores = scores.double()
    if calibration["method"] == "platt":
        return torch.sigmoid(calibration["slope"] * scores + calibration["intercept"])
    return _interpolated(scores, *(scores.new_tensor(calibration[key]) for key in ("scores", "probabilities")))


def _interpolated(scores: Tensor, knots: Tensor, values: Tensor) -> Tensor:
    """Piecewise linear between the knots, constant outside them."""
    if len(knots) == 1:
        return values.expand(scores.shape).clone()
    right = torch.searchsorted(knots, scores.contiguous()).clamp(1, len(knots) - 1)
    share = ((scores - knots[right - 1]) / (knots[right] - knots[right - 1])).clamp(0, 1)
    return torch.lerp(values[right - 1], values[right], share)
