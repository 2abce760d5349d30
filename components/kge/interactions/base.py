"""Interface of interactions.

B batch, K candidates per row, N entities, R relations, d the dimension set in the recipe; ``e`` and ``r`` are the
widths of entity and relation vectors that the interaction declares. The *side* of a query is the side that is asked
for: ``"tail"`` for (h, r, ?), ``"head"`` for (?, r, t).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from mmkgc.components.kge import tensors
from mmkgc.components.kge.graph import Side as Side
from mmkgc.components.kge.interactions.geometry import Geometry
from mmkgc.components.kge.kernels.rows import take

Query = tuple[Tensor, Tensor, Side]  # queries: known entities [b, e], relations [b, r], the side that is asked for
Init = Annotated[float, Field(gt=0, description="half width of the uniform initial values")]
Dropout = Annotated[float, Field(ge=0, lt=1, description="share of coordinates dropped")]


class Interaction(nn.Module, ABC):
    """Raw plausibility of triples of vectors: higher is better, a margin γ is not included.

    The four kinds of queries (triples, K candidates, all heads, all tails) give equal scores. The base class computes
    all of them with ``score``; subclasses have faster methods. An interaction in a recipe is constructed with the
    ``dimension`` d as its only positional argument, and may have its own parameters. ``entity_width`` and
    ``relation_width``: reals of one entity and of one relation vector, d by default. ``learns_relations``: whether
    relation vectors are trained.
    """

    learns_relations = True

    def __init__(
        self, dimension: int, init: float, *, entity_width: int | None = None, relation_width: int | None = None
    ) -> None:
        super().__init__()
        self.dimension, self.init = dimension, init
        self.entity_width, self.relation_width = entity_width or dimension, relation_width or dimension

    def incompatibility(self, reciprocal: bool) -> str | None:
        """Why this interaction is incompatible with (or without) reciprocal relations; None if it is compatible."""
        return None

    def initialise(self, vectors: Tensor) -> Tensor:
        """Fill new entity vectors in place: U(−init, init)."""
        return torch.nn.init.uniform_(vectors, -self.init, self.init)

    def initialise_relations(self, vectors: Tensor) -> Tensor:
        """Fill new relation vectors in place: as entity vectors."""
        return self.initialise(vectors)

    def moduli(self, vectors: Tensor) -> Tensor:
        """Absolute values of the (real or complex) coordinates, which N3 cubes."""
        return vectors.abs()

    def auxiliary(self, relations: Iterable[Tensor]) -> dict[str, Tensor]:
        """Weighted auxiliary losses (scalars, by name) of a batch's relation vectors, ``[B, r]`` from each table."""
        return {}

    def sum_of_squares(self, heads: Tensor, tails: Tensor, relations: Tensor) -> Tensor:
        """Σ s(h, r, t)² over all ``heads[N, e]``, ``relations[R, r]`` and ``tails[N, e]``, in closed form; scalar.

        Raises ``NotImplementedError`` if no closed form is known (see ``knows_sum_of_squares``).
        """
        raise NotImplementedError

    @classmethod
    def knows_sum_of_squares(cls) -> bool:
        """Whether ``sum_of_squares`` has a closed form."""
        return cls.sum_of_squares is not Interaction.sum_of_squares

    @abstractmethod
    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Scores ``[...]`` of triples ``[..., e]``, ``[..., r]``, ``[..., e]``; leading dimensions broadcast."""

    def score_crossed(
        self, heads: Sequence[Tensor], relation: Tensor, tails: Sequence[Tensor], pairs: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        """Scores ``[...]`` of triples of ``heads[i]`` and ``tails[j]`` for each of ``pairs``.

        Shared parts are computed once. Shapes as in ``score``; ``[b, K or 1, e]`` and ``relation[b, 1, r]`` are the
        fastest.
        """
        return [self.score(heads[i], relation, tails[j]) for i, j in pairs]

    def score_candidates(self, asked: Sequence[Query], table: Tensor, index: Tensor) -> Tensor:
        """Scores ``[B, K]`` of candidates ``table[index]`` for groups of queries, B in total, in order.

        ``table`` ``[U, e]``, ``index`` ``[B, K]``.
        """
        parts = zip(asked, index.split([len(known) for known, _, _ in asked]), strict=True)
        return torch.cat([self._score_group_candidates(*group, table, own) for group, own in parts])

    def score_all(self, known: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        """Scores ``[B, N]`` of every entity of ``table[N, e]`` for queries ``known[B, e]``, ``relation[B, r]``."""
        rows = zip(known, relation, strict=True)
        return torch.stack([self._score_side(e.unsqueeze(0), r.unsqueeze(0), table, side) for e, r in rows])

    def score_relations(self, head: Tensor, tail: Tensor, table: Tensor) -> Tensor:
        """Scores ``[B, R]`` of every relation of ``table[R, r]`` between ``head[B, e]`` and ``tail[B, e]``."""

        def score(ends: Tensor, relation: Tensor) -> Tensor:
            return self.score(ends[..., : head.shape[-1]], relation, ends[..., head.shape[-1] :])

        return tensors.grid(score, torch.cat([head, tail], dim=-1), table)

    def score_sides(self, asked: Sequence[Query], table: Tensor) -> list[Tensor]:
        """``score_all`` of several groups of queries, ``[b, N]`` each; in one pass over the table if that is faster.

        With few queries, a pass over the table costs as much as several queries.
        """
        return [self.score_all(known, relation, table, side) for known, relation, side in asked]

    def _score_group_candidates(
        self, known: Tensor, relation: Tensor, side: Side, table: Tensor, index: Tensor
    ) -> Tensor:
        return self._score_side(known.unsqueeze(1), relation.unsqueeze(1), take(table, index), side)

    def _score_side(self, known: Tensor, relation: Tensor, candidate: Tensor, side: Side) -> Tensor:
        return self.score(known, relation, candidate) if side == "tail" else self.score(candidate, relation, known)


class QueryInteraction(Interaction):
    """An interaction that maps the known side to a point and compares it with every candidate by one geometry.

    score(h, r, t) = geometry(query(h, r, tail), t) = geometry(query(t, r, head), h).
    """

    geometry: Geometry

    def entity(self, vectors: Tensor) -> Tensor:
        """Transformation of every entity vector that does not depend on the relation (a normalisation)."""
        return vectors

    def everyone(self, table: Tensor) -> Tensor:
        """``entity`` of a table of many entities. Of one that is not trained, as in ranking and serving, it is computed
        once, and kept for as long as the table is there and stays as it is.
        """
        if torch.is_grad_enabled() or table.requires_grad or table.is_inference():
            return self.entity(table)
        version, points = self._kept.get(table, (None, table))
        if version != table._version:
            points = self.entity(table)
            if points is not table:
                self._kept[table] = table._version, points
        return points

    @cached_property
    def _kept(self) -> WeakIdKeyDictionary:
        return WeakIdKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_kept"}  # copies keep their own

    @abstractmethod
    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        """Point ``[..., e]`` near which the answers of the query lie; ``known`` has gone through ``entity``."""

    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return self.geometry.pairs(self.query(self.entity(head), relation, "tail"), self.entity(tail))

    def score_crossed(
        self, heads: Sequence[Tensor], relation: Tensor, tails: Sequence[Tensor], pairs: Sequence[tuple[int, int]]
    ) -> list[Tensor]:
        queries = [self.query(self.entity(head), relation, "tail") for head in heads]
        points = [self.entity(tail) for tail in tails]
        return [self.geometry.aligned(queries[i], points[j]) for i, j in pairs]

    def score_candidates(self, asked: Sequence[Query], table: Tensor, index: Tensor) -> Tensor:
        return self.geometry.candidates(self._queries(asked), self.everyone(table), index)

    def score_all(self, known: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        return self.geometry.everyone(self.query(self.entity(known), relation, side), self.everyone(table))

    def score_sides(self, asked: Sequence[Query], table: Tensor) -> list[Tensor]:
        if len(asked) == 1:  # avoids a split, whose gradient would copy the gradients of all scores in training
            return super().score_sides(asked, table)
        scores = self.geometry.everyone(self._queries(asked), self.everyone(table))
        return list(scores.split([len(known) for known, _, _ in asked]))

    def _queries(self, asked: Sequence[Query]) -> Tensor:
        """Query points ``[B, e]`` of all groups, concatenated."""
        return torch.cat([self.query(self.entity(known), relation, side) for known, relation, side in asked])


class ProjectionInteraction(QueryInteraction):
    """A query interaction whose candidates are also transformed by the relation: geometry(query(h, r), key(t, r))."""

    @abstractmethod
    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        """Point ``[..., k]`` of a candidate for the sought side; ``candidate`` has gone through ``entity``."""

    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        query = self.query(self.entity(head), relation, "tail")
        return self.geometry.pairs(query, self.key(self.entity(tail), relation, "tail"))

    score_crossed = Interaction.score_crossed
    score_candidates = Interaction.score_candidates  # as with score_sides, the candidates' points depend on the side

    def _score_group_candidates(
        self, known: Tensor, relation: Tensor, side: Side, table: Tensor, index: Tensor
    ) -> Tensor:
        def score(query: Tensor, relation: Tensor, table: Tensor, index: Tensor) -> Tensor:
            return self.geometry.pairs(query.unsqueeze(1), self.key(take(table, index), relation.unsqueeze(1), side))

        query, table = self.query(self.entity(known), relation, side), self.everyone(table)
        size = tensors.rows_at_once(table.shape[1] * index.shape[1], table.device)
        blocks = [(query[i], relation[i], table, index[i]) for i in tensors.slices(len(query), size)]
        return torch.cat([tensors.recomputed(score, *block) for block in blocks])

    def score_all(self, known: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        """As in the base class; candidates are transformed once per distinct relation."""
        query, table = self.query(self.entity(known), relation, side), self.everyone(table)
        distinct, group = torch.unique(relation.detach(), dim=0, return_inverse=True)
        groups = [(group == number).nonzero().squeeze(1) for number in range(len(distinct))]
        scores = torch.cat([self._score_group(query[rows], relation[rows[0]], table, side) for rows in groups])
        return scores[torch.cat(groups).argsort()]

    score_sides = Interaction.score_sides

    def _score_group(self, query: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        def score(query: Tensor, relation: Tensor, table: Tensor) -> Tensor:
            return self.geometry.everyone(query, self.key(table, relation, side))

        return tensors.recomputed(score, query, relation, table)
