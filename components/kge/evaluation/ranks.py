"""Filtered ranks of queries: the position of the true answer among all entities, sorted by score.

The candidates of a query (h, r, ?) or (?, r, t) are all entities except known answers other than the gold one. Ties
make a rank ambiguous: *optimistic* counts the strictly better candidates, *pessimistic* also the equal ones,
*realistic* is their mean. Duplicate queries are scored once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.kernels import counting

SCORES_AT_ONCE = 1 << 26  # 256 MB of float32: with more entities, fewer queries are scored at once
Progress = Callable[[Iterable[Tensor]], Iterable[Tensor]]


class Scorer(Protocol):
    """Interface of what can be ranked: a ``Model``, a baseline, or a model with mapped ids."""

    training: bool

    def freeze(self) -> Any:
        """Prepare for scoring."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Switch between training and evaluation."""
        ...

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as tail."""
        ...

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Scores ``[B, N]`` of every entity as head."""
        ...


class Untrained:
    """Base class of a ``Scorer`` that is no model: there is nothing to prepare or to switch."""

    training = False

    def freeze(self) -> Self:
        """Do nothing."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Do nothing."""
        return self


class NotFinite(ArithmeticError):
    """Raised if a score is NaN or infinite: no order exists, and an optimistic rank would be 1."""


@dataclass(frozen=True)
class SideRanks:
    """Ranks of Q gold answers on one side; each ``[Q]`` float64, from 1 to ``candidates``."""

    optimistic: Tensor
    pessimistic: Tensor
    candidates: Tensor

    @property
    def realistic(self) -> Tensor:
        """Mean of both: a constant model gets (candidates + 1) / 2."""
        return (self.optimistic + self.pessimistic) / 2


@dataclass(frozen=True)
class Ranks:
    """Ranks of Q triples, asked for the head and for the tail."""

    head: SideRanks
    tail: SideRanks

    @property
    def realistic(self) -> Tensor:
        """Realistic ranks ``[2Q]``: heads, then tails."""
        return torch.cat([self.head.realistic, self.tail.realistic])


def rank(
    model: Scorer,
    triples: Tensor,
    known: KnownTriples,
    batch_size: int = 256,
    progress: Progress = lambda batches: batches,
) -> Ranks:
    """Ranks of ``triples[Q, 3]`` among all entities, filtered by ``known``.

    ``batch_size`` distinct queries are scored at once, fewer for a large graph; ``progress`` wraps the iteration
    over batches. Raises ``NotFinite``. The model keeps its mode (training or evaluation).
    """
    training, batch_size = model.training, at_once(batch_size, known.n_entities)
    try:
        model.freeze()
        return Ranks(
            head=_rank_side(model, triples, known, "head", batch_size, progress),
            tail=_rank_side(model, triples, known, "tail", batch_size, progress),
        )
    finally:
        model.train(training)


def at_once(batch_size: int, n_entities: int) -> int:
    """Number of queries whose scores of all entities are held at once: ``batch_size``, or what the memory allows."""
    return max(1, min(batch_size, SCORES_AT_ONCE // max(1, n_entities)))


def mrr(ranks: Ranks) -> float:
    """Mean reciprocal realistic rank over both sides."""
    return ranks.realistic.reciprocal().mean().item() if len(ranks.realistic) else 0.0


@torch.no_grad()
def _rank_side(
    model: Scorer, triples: Tensor, known: KnownTriples, side: Side, batch_size: int, progress: Progress
) -> SideRanks:
    heads, relations, tails = triples.unbind(1)
    given, gold = (heads, tails) if side == "tail" else (tails, heads)
    queries, query_of = torch.unique(given * known.n_relations + relations, return_inverse=True)
    found = torch.zeros((3, len(triples)), dtype=torch.float64, device=triples.device)
    for chunk in progress(list(torch.arange(len(queries), device=triples.device).split(batch_size))):
        mine = ((query_of >= chunk[0]) & (query_of <= chunk[-1])).nonzero().squeeze(1)
        entity, relation = queries[chunk] // known.n_relations, queries[chunk] % known.n_relations
        score = model.score_tails(entity, relation) if side == "tail" else model.score_heads(relation, entity)
        answers = known.answers(entity, relation, side)
        found[:, mine] = torch.stack(_counts(score, query_of[mine] - chunk[0], gold[mine], answers)).double()
    return SideRanks(*found)


def _counts(
    scores: Tensor, rows: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Optimistic rank, pessimistic rank and number of candidates ``[G]`` of ``gold[G]`` in ``scores[rows]``.

    Known answers get −∞; the gold one, known or not, is compared by its own score and counted separately.
    """
    if not torch.stack(scores.aminmax()).isfinite().all():
        raise NotFinite(
            "the model's scores are not finite (NaN or infinity); training diverged — lower the learning rate"
        )
    if counting.usable(scores, len(gold)):
        better, equal, others = counting.count(scores, rows, gold, answers)
        return better + 1, better + 1 + equal, others + 1
    own = scores[rows, gold]
    scores = scores.index_put(answers, scores.new_tensor(-torch.inf))
    filtered = torch.bincount(answers[0], minlength=len(scores))[rows]
    gold_is_known = scores[rows, gold] == -torch.inf
    better, equal = torch.empty_like(gold), torch.empty_like(gold)
    for part in torch.arange(len(gold), device=gold.device).split(1024):
        against = scores[rows[part]]
        better[part] = (against > own[part, None]).sum(1)
        equal[part] = (against == own[part, None]).sum(1)
    others_equal = equal - (~gold_is_known).long()
    return better + 1, better + 1 + others_equal, scores.shape[1] - filtered + gold_is_known
