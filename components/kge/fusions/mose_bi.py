"""MoSE-BI."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.fusions.base import ScoreTerms, Space, Term
from mmkgc.components.kge.fusions.mose import MoSE, development

LARGEST = 1 - 1e-3  # largest mean gap; a modality that is always right would have infinite weight


class MoSEBI(MoSE):
    """MoSE with boosting inference: after training, each relation gets its own modality weights.

    Zhao et al. 2022 (MoSE-BI) boost relation-wise weights on the development split, by RankBoost (Freund et al. 2003):
    in each round the modality whose mean gap r between an answer and other entities is largest gets ½ ln((1 + r) /
    (1 − r)) more weight, and pairs that it ranks wrongly count more. Gaps are divided by the modality's mean square gap
    and clipped to ±1. The released code was not followed: other entities are drawn; relations with fewer than ``least``
    development triples get the weights of all relations together; the weights of a relation sum to 1. Until then, and
    without a development split, this is MoSE's average.
    """

    fitted = ("weights",)

    def __init__(
        self,
        space: Space,
        *,
        rounds: Annotated[int, Field(gt=0, description="rounds of boosting")] = 10,
        candidates: Annotated[int, Field(gt=0, description="entities to compare each development answer with")] = 64,
        least: Annotated[int, Field(gt=0, description="development triples of a relation with own weights")] = 10,
    ) -> None:
        super().__init__(space)
        self.rounds, self.candidates, self.least = rounds, candidates, least
        self.weights: Tensor
        count = len(space.modalities)
        self.register_buffer("weights", torch.full((space.n_relations, count), 1 / count))

    def combine(self, terms: Sequence[Term], scores: Sequence[Tensor], relations: Tensor) -> Tensor:
        if self.training or tuple(terms) != self.terms:
            return super().combine(terms, scores, relations)
        return (torch.stack(tuple(scores), dim=-1) * self.weights[relations]).sum(-1)

    def fit(self, score_terms: ScoreTerms, triples: Tensor) -> None:
        scores, relations = development(score_terms, triples, self.candidates)
        gaps = scores[:, :1] - scores[:, 1:]
        scale = gaps.square().mean((0, 1)).sqrt().clamp(min=1e-12)
        gaps = (gaps / scale).clamp(-1, 1)
        of_relation = _boosted(gaps, relations, len(self.weights), self.rounds) / scale
        of_all = _boosted(gaps, torch.zeros_like(relations), 1, self.rounds) / scale
        known = torch.bincount(relations, minlength=len(self.weights)) >= 2 * self.least
        chosen = torch.where(known.unsqueeze(1), of_relation, of_all)
        sums = chosen.sum(1, keepdim=True)
        weights = torch.where(sums > 0, chosen / sums.clamp(min=1e-12), 1 / chosen.shape[1])
        self.weights.copy_(weights)


def _boosted(gaps: Tensor, groups: Tensor, n_groups: int, rounds: int) -> Tensor:
    """Weights ``[n_groups, M]`` from ``gaps[Q, C, M]`` in [−1, 1] of queries in ``groups[Q]``."""
    weights = gaps.new_zeros(n_groups, gaps.shape[2])
    pairs = torch.ones_like(gaps[..., 0])
    for _ in range(rounds):
        norm = pairs.new_zeros(n_groups).index_add(0, groups, pairs.sum(1)).clamp(min=1e-12)
        pairs = pairs / norm[groups].unsqueeze(1)
        mean = torch.zeros_like(weights).index_add(0, groups, (pairs.unsqueeze(2) * gaps).sum(1))
        best, which = mean.clamp(0, LARGEST).max(1)
        step = (best.log1p() - (-best).log1p()) / 2
        weights = weights + torch.nn.functional.one_hot(which, weights.shape[1]) * step.unsqueeze(1)
        own = gaps.gather(2, which[groups].view(-1, 1, 1).expand(-1, gaps.shape[1], 1)).squeeze(2)
        pairs = pairs * torch.exp(-step[groups].unsqueeze(1) * own)
    return weights
