"""The probability that a proposal is a missing fact.

**Fit.** If the held-out facts are hidden from the filter, the model proposes some of them again, among candidates that
are in no split. Of n candidates of one relation, the best ones of this list, each is right if it is a held-out fact:

    logit p = a · score + b · margin + c · log(1 + degree of the head) + d · log(1 + degree of the tail) + e_relation

A margin is the score less that of the best other candidate of the query, a degree the number of train triples. The
e_relation have a Gaussian prior (``SHRINKAGE``), so that a relation with few candidates stays near the others.

**The graph as it is.** In the fit, the share ρ of the facts is missing. How many facts the graph itself lacks, no data
of it can tell. ``missing`` is the share that is assumed, by which the odds change as where only the prior differs
(Saerens, Latinne & Decaestecker 2002):

    odds × missing (1 − ρ) / (ρ (1 − missing))

Reviewers tell it: their decisions move all log-odds, and those of each relation, by amounts with a Gaussian prior
around zero (``DOUBT``).

**Check.** ``reliability`` predicts each fifth of the candidates from the others; both directions of a pair are in one
fifth, since one of them nearly tells the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import log
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.calibration import error_by_chance, expected_error
from mmkgc.components.kge.evaluation.logistic import fit_logistic, smoothed
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.propose.best import Best

SHRINKAGE = 1.0
"""Precision of the prior of e_relation."""
DOUBT = 0.25
"""Precision of the prior of what decisions move: a standard deviation of 2, a factor of 7 in the odds."""
FOLDS, BINS = 5, 10


@dataclass(frozen=True)
class Candidates:
    """Candidates as the fit sees them: triples ``[T, 3]``, scores and margins ``[T]``."""

    triples: Tensor
    scores: Tensor
    margins: Tensor

    @classmethod
    def of(cls, lists: Mapping[int, Best]) -> "Candidates":
        """The pairs of each relation's list."""
        triples = [
            torch.cat([best.pairs[:, :1], torch.full((len(best), 1), relation), best.pairs[:, 1:]], dim=1)
            for relation, best in lists.items()
        ]
        kept = list(lists.values())
        return cls(torch.cat(triples), torch.cat([b.scores for b in kept]), torch.cat([b.margins for b in kept]))

    def __len__(self) -> int:
        return len(self.triples)

    def __getitem__(self, rows: Tensor) -> "Candidates":
        return Candidates(self.triples[rows], self.scores[rows], self.margins[rows])


class Chances:
    """Probabilities of proposals, fitted on ``candidates`` of which those marked in ``right`` ``[T]`` are facts.

    ``degrees`` ``[N]``: number of train triples of each entity. ``lacking``: the share of facts that was hidden (ρ);
    ``missing``: the share that the graph is thought to lack.
    """

    def __init__(
        self, candidates: Candidates, right: Tensor, degrees: Tensor, n_relations: int, lacking: float, missing: float
    ) -> None:
        self.degrees, self.n_relations = degrees, n_relations
        self.mean = candidates.scores.double().mean()
        self.scale = candidates.scores.double().std(correction=0).clamp(min=1e-12)
        precision = torch.full((5 + n_relations,), SHRINKAGE, dtype=torch.float64)
        precision[:4], precision[4] = 1e-2, 1e-6
        self.weights = fit_logistic(self._design(candidates), smoothed(right), precision)
        self.shift = log(missing * (1 - lacking) / (lacking * (1 - missing)))
        self.moved = torch.zeros(n_relations, dtype=torch.float64)

    def learn(self, reviewed: Candidates, accepted: Tensor) -> None:
        """Move the probabilities towards what reviewers decided on proposals: ``accepted`` bool ``[T]``."""
        relations = torch.nn.functional.one_hot(reviewed.triples[:, RELATION], self.n_relations).double()
        design = torch.cat([torch.ones(len(reviewed), 1, dtype=torch.float64), relations], dim=1)
        precision = torch.full((1 + self.n_relations,), DOUBT, dtype=torch.float64)
        weights = fit_logistic(design, accepted.double(), precision, self.hidden_logits(reviewed) + self.shift)
        self.moved = weights[0] + weights[1:]

    def __call__(self, candidates: Candidates) -> Tensor:
        """Probability of each candidate, float64 ``[T]``."""
        moved = self.shift + self.moved[candidates.triples[:, RELATION]]
        return torch.sigmoid(self.hidden_logits(candidates) + moved)

    def hidden_logits(self, candidates: Candidates) -> Tensor:
        """Log-odds ``[T]`` if the graph lacked as many facts as in the fit."""
        return self._design(candidates) @ self.weights

    def _design(self, candidates: Candidates) -> Tensor:
        triples = candidates.triples
        shared = [
            (candidates.scores.double() - self.mean) / self.scale,
            candidates.margins.double() / self.scale,
            self.degrees[triples[:, HEAD]].double().log1p(),
            self.degrees[triples[:, TAIL]].double().log1p(),
            torch.ones(len(triples), dtype=torch.float64),
        ]
        relations = torch.nn.functional.one_hot(triples[:, RELATION], self.n_relations).double()
        return torch.cat([torch.stack(shared, dim=1), relations], dim=1)


def reliability(candidates: Candidates, right: Tensor, degrees: Tensor, n_relations: int) -> dict[str, Any]:
    """Expected calibration error of probabilities of facts that were left out of the fit, and what ten groups show.

    Beside it, the error that probabilities would have by chance if each were exactly right. The groups have equal sizes
    and ascending probabilities; each states its mean probability and its share of facts.
    """
    chances = left_out(candidates, right, degrees, n_relations)
    groups = [group for group in torch.argsort(chances, stable=True).tensor_split(BINS) if len(group)]
    return {
        "candidates": len(candidates),
        "right": int(right.sum()),
        "expected_error": expected_error(chances, right, BINS),
        "error_by_chance": error_by_chance(chances, BINS),
        "groups": [_group(chances[group], right[group]) for group in groups],
    }


def left_out(candidates: Candidates, right: Tensor, degrees: Tensor, n_relations: int) -> Tensor:
    """Probability of each candidate, float64 ``[T]``, from a fit without the fifth that it belongs to."""
    chances = torch.zeros(len(candidates), dtype=torch.float64)
    ends = candidates.triples[:, [HEAD, TAIL]].sort(dim=1).values
    fold = (ends[:, 0] * 7919 + ends[:, 1]) % FOLDS
    for number in range(FOLDS):
        chosen = fold == number
        if chosen.any() and not chosen.all():
            fitted = Chances(candidates[~chosen], right[~chosen], degrees, n_relations, 0.5, 0.5)
            chances[chosen] = torch.sigmoid(fitted.hidden_logits(candidates[chosen]))
    return chances


def _group(chances: Tensor, right: Tensor) -> dict[str, Any]:
    return {"candidates": len(chances), "probability": float(chances.mean()), "right": float(right.double().mean())}
