"""What an interaction is.

B batch, K candidates a row, N entities; ``e`` and ``r`` are the widths that the interaction declares. The *side* of a
query is the side that is asked for: ``"tail"`` for (h, r, ?), ``"head"`` for (?, r, t).
"""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor

from components.kge.interactions.geometry import Geometry

Side = Literal["head", "tail"]


class Interaction(ABC):
    """Raw plausibility of triples of vectors: higher is better, a margin γ is not included.

    The four ways to ask (triples, K candidates, all heads, all tails) give equal scores. The base class answers all of
    them from ``score``; subclasses have faster ways.
    """

    def __init__(self, init: float = 0.1) -> None:
        self.init = init

    def entity_width(self, dimension: int) -> int:
        """Reals of one entity vector."""
        return dimension

    def relation_width(self, dimension: int) -> int:
        """Reals of one relation vector."""
        return dimension

    def initialise(self, vectors: Tensor) -> Tensor:
        """Fill new entity or relation vectors in place: U(−init, init)."""
        return torch.nn.init.uniform_(vectors, -self.init, self.init)

    def moduli(self, vectors: Tensor) -> Tensor:
        """Absolute values of the coordinates, of which N3 takes cubes; of complex numbers where they are complex."""
        return vectors.abs()

    @abstractmethod
    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        """Scores ``[...]`` of triples ``[..., e]``, ``[..., r]``, ``[..., e]``; leading dimensions broadcast."""

    def score_candidates(self, known: Tensor, relation: Tensor, table: Tensor, index: Tensor, side: Side) -> Tensor:
        """Scores ``[B, K]`` of candidates ``table[index]`` for queries ``known[B, e]``, ``relation[B, r]``.

        ``table`` ``[U, e]``, ``index`` ``[B, K]``.
        """
        candidates = table[index]
        known, relation = known.unsqueeze(1), relation.unsqueeze(1)
        return self._score_side(known, relation, candidates, side)

    def score_all(self, known: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        """Scores ``[B, N]`` of every entity of ``table[N, e]`` for queries ``known[B, e]``, ``relation[B, r]``."""
        rows = zip(known, relation, strict=True)
        return torch.stack([self._score_side(e.unsqueeze(0), r.unsqueeze(0), table, side) for e, r in rows])

    def _score_side(self, known: Tensor, relation: Tensor, candidate: Tensor, side: Side) -> Tensor:
        return self.score(known, relation, candidate) if side == "tail" else self.score(candidate, relation, known)


class QueryInteraction(Interaction):
    """An interaction that maps the known side to a point and compares it with every candidate by one geometry.

    score(h, r, t) = geometry(query(h, r, tail), t) = geometry(query(t, r, head), h).
    """

    geometry: Geometry

    def entity(self, vectors: Tensor) -> Tensor:
        """What is done to every entity vector first, whatever the relation (a normalisation)."""
        return vectors

    @abstractmethod
    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        """Point ``[..., e]`` near which the answers of the query lie; ``known`` has gone through ``entity``."""

    def score(self, head: Tensor, relation: Tensor, tail: Tensor) -> Tensor:
        return self.geometry.pairs(self.query(self.entity(head), relation, "tail"), self.entity(tail))

    def score_candidates(self, known: Tensor, relation: Tensor, table: Tensor, index: Tensor, side: Side) -> Tensor:
        query = self.query(self.entity(known), relation, side)
        return self.geometry.candidates(query, self.entity(table), index)

    def score_all(self, known: Tensor, relation: Tensor, table: Tensor, side: Side) -> Tensor:
        return self.geometry.everyone(self.query(self.entity(known), relation, side), self.entity(table))
