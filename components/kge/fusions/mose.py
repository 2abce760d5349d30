"""MoSE."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.fusions.base import Fusion, ScoreTerms, Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.tensors import slices

QUERIES = 256  # number of queries scored at once


class MoSE(Fusion):
    """An ensemble of one term per modality with its own relation vectors; trained separately, ranked by mean score.

    Zhao et al. 2022, eq. 1–4, with average inference (MoSE-AI); the original divides features by a temperature, which
    the learned projection does here, and fills missing features with random numbers (``missing: random``).
    """

    separate = True

    @property
    def terms(self) -> tuple[Term, ...]:
        return tuple(self.unimodal(modality) for modality in self.modalities)

    def unimodal(self, modality: str) -> Term:
        return Term(modality, modality, relation=modality, weight=1 / len(self.modalities))


class Development(NamedTuple):
    """Scores of each of M terms on development queries of both sides.

    ``scores`` float32 ``[Q, 1 + C, M]``: of the answer first, then of C drawn entities; ``relations`` ``[Q]``.
    """

    scores: Tensor
    relations: Tensor


@torch.no_grad()
def development(score_terms: ScoreTerms, triples: Tensor, candidates: int) -> Development:
    """The terms' scores on the development ``triples[V, 3]``; the entities are the same in every run."""
    random = torch.Generator().manual_seed(0)
    scores: list[Tensor] = []
    sides: tuple[tuple[Side, int], ...] = (("tail", TAIL), ("head", HEAD))
    for side, column in sides:
        for rows in slices(len(triples), QUERIES):
            of_terms = torch.stack(score_terms(triples[rows], side), dim=-1).float()
            size = (len(of_terms), candidates)
            drawn = torch.randint(of_terms.shape[1], size, generator=random).to(triples.device)
            ids = torch.cat([triples[rows, column].unsqueeze(1), drawn], dim=1)
            scores.append(of_terms.gather(1, ids.unsqueeze(2).expand(-1, -1, of_terms.shape[2])))
    return Development(torch.cat(scores), triples[:, RELATION].repeat(2))
