"""Batches of distinct queries with all their answers, and their loss.

T train triples; 2T directed triples: row i < T asks for the tail of triple i, row T + i for its head. P directed
triples of a batch, Q distinct queries, N entities, C of them candidates.
"""

from collections.abc import Iterable, Iterator
from math import log
from typing import NamedTuple, Self, TypeGuard

import torch
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Fusion, Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Interaction, ProjectionInteraction, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.kernels.products import ROUND, missing
from mmkgc.components.kge.losses.base import GroupedLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.tensors import at_least_float32, total

SEVERAL = 8  # times as many as are drawn: so few numbers are shuffled, of more some are drawn until they differ


class QueryGroups:
    """The directed triples of ``triples[T, 3]``, grouped by query; a query has ``most`` answers at most in a group.

    Without this bound, one query with thousands of answers would fill the batch that it is in.
    """

    def __init__(self, triples: Tensor, n_relations: int, most: int) -> None:
        heads, relations, tails = triples[:, HEAD], triples[:, RELATION], triples[:, TAIL]
        tail_queries = heads * n_relations + relations
        head_queries = tails * n_relations + relations
        codes = torch.cat([tail_queries, head_queries + tail_queries.amax() + 1])
        _, self.query = torch.unique(codes, return_inverse=True)
        answers = torch.bincount(self.query)
        groups = (answers + most - 1) // most
        self.counts = torch.full((int(groups.sum()),), most, device=triples.device)
        self.counts[groups.cumsum(0) - 1] = answers - (groups - 1) * most  # the last group of a query has the rest
        self.starts = self.counts.cumsum(0) - self.counts

    def __len__(self) -> int:
        return len(self.counts)

    def batches(self, batch_size: int, random: torch.Generator) -> Iterator[Tensor]:
        """Directed triples ``[P]`` of batches of ``batch_size`` groups, in random order and randomly grouped."""
        device = self.query.device
        shuffled = torch.randperm(len(self.query), generator=random, device=device)
        rows = shuffled[torch.argsort(self.query[shuffled], stable=True)]
        for chosen in torch.randperm(len(self), generator=random, device=device).split(batch_size):
            counts = self.counts[chosen]
            first = self.starts[chosen] - (counts.cumsum(0) - counts)
            yield rows[first.repeat_interleave(counts) + torch.arange(int(counts.sum()), device=device)]


class Candidates(NamedTuple):
    """The entities that a batch is scored against: its own, and some of the others, which stand for all others."""

    own: Tensor
    drawn: Tensor
    n_entities: int

    @classmethod
    def draw(cls, ids: Iterable[Tensor], n_entities: int, count: int) -> Self | None:
        """At least ``count`` of the entities that are not among ``ids``; None if there are no more than that.

        As many more are drawn as make all together a multiple of 256, or of a smaller ``count``: products of few
        shapes are faster in bfloat16 (see ``kernels/softmax.py``).
        """
        own = torch.cat([some.flatten() for some in ids]).unique()
        count += missing(len(own) + count, min(ROUND, count))
        others = n_entities - len(own)
        if others <= count:
            return None
        places = _distinct(others, count, own.device)  # among the others, in ascending order
        before = own - torch.arange(len(own), device=own.device)  # others below each of the own
        return cls(own, places + torch.searchsorted(before, places, right=True), n_entities)

    def offset(self, encoded: EncodedEntities) -> Tensor:
        """log of the number of entities for which each encoded one stands, ``[C]``: 0 for the batch's own."""
        others = (self.n_entities - len(self.own)) / len(self.drawn)
        offset = torch.zeros(len(encoded), device=self.drawn.device)
        return offset.index_fill(0, encoded.index(self.drawn), log(others))


def _distinct(n: int, count: int, device: torch.device) -> Tensor:
    """``count`` different numbers below ``n``, every set equally likely; the cost does not depend on a large ``n``."""
    if n <= SEVERAL * count:
        return torch.randperm(n, device=device)[:count]
    found = torch.empty(0, dtype=torch.long, device=device)
    while len(found) < count:
        found = torch.cat([found, torch.randint(n, (count + count // 4,), device=device)]).unique()
    return found[torch.randperm(len(found), device=device)[:count]]


def grouped_loss(
    model: Model,
    encoded: EncodedEntities,
    batch: Batch,
    loss: GroupedLoss,
    groups: list[tuple[Term, ...]],
    offset: Tensor | None = None,
) -> Tensor:
    """Scalar loss of a batch of directed triples: the weighted mean over them, summed over groups of terms.

    ``offset`` ``[C]``: added to the scores of the encoded entities.
    """
    sides: tuple[Side, Side] = ("tail", "head")
    sums = [_side_sum(model, encoded, batch, loss, side, terms, offset) for terms in groups for side in sides]
    return total(sums) / batch.weight.sum()


def _side_sum(
    model: Model,
    encoded: EncodedEntities,
    batch: Batch,
    loss: GroupedLoss,
    side: Side,
    terms: tuple[Term, ...],
    offset: Tensor | None,
) -> Tensor:
    """Weighted sum of the losses of the triples that ask for this side."""
    assert batch.asks_head is not None
    asked = batch.asks_head if side == "head" else ~batch.asks_head
    triples, weight = batch.triples[asked], batch.weight[asked]
    if not len(triples):
        return weight.sum()
    known, gold = (triples[:, HEAD], triples[:, TAIL]) if side == "tail" else (triples[:, TAIL], triples[:, HEAD])
    queries, row = torch.unique(known * model.n_relations + triples[:, RELATION], return_inverse=True)
    entities, relations = queries // model.n_relations, queries % model.n_relations
    gold = encoded.index(gold)
    if products := _dot_products(model, encoded, entities, relations, side, terms):
        return loss.of_products(*products, row, gold, weight, offset)
    scores = at_least_float32(model.score_all(encoded, entities, relations, side, terms))
    scores = scores if offset is None else scores + offset
    return (weight * loss(scores, row, gold)).sum()


def _dot_products(
    model: Model, encoded: EncodedEntities, known: Tensor, relations: Tensor, side: Side, terms: tuple[Term, ...]
) -> tuple[Tensor, Tensor] | None:
    """Query points ``[Q, d]`` and vectors ``[C, d]`` whose dot products are the scores; None if scores are no such.

    A sum of dot products is the dot product of the concatenated vectors.
    """
    if type(model.fusion).combine is not Fusion.combine and not model.fusion.separate:
        return None
    parts = []
    for term in terms:
        interaction, (ours, theirs, direction) = model.interaction_of(term), model.roles(term, side)
        if not is_dot_product(interaction) or not {ours, theirs} <= encoded.views.keys():
            return None
        vectors = interaction.entity(encoded.view(ours, known, relations))
        query = interaction.query(vectors, model.relation(term, relations, side), direction)
        parts.append((term.weighed(query), interaction.entity(encoded.views[theirs])))
    queries, tables = zip(*parts, strict=True)
    return (queries[0], tables[0]) if len(parts) == 1 else (torch.cat(queries, dim=1), torch.cat(tables, dim=1))


def is_dot_product(interaction: Interaction) -> TypeGuard[QueryInteraction]:
    """Whether scores are dot products of query points and entities that do not depend on the relation."""
    is_query = isinstance(interaction, QueryInteraction) and not isinstance(interaction, ProjectionInteraction)
    return is_query and isinstance(interaction.geometry, Dot)
