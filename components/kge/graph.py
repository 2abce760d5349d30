"""The graph as the model library sees it: vocabularies, integer triples, and a filter of known triples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.kernels import lookup
from mmkgc.components.kge.vocabulary import HEAD, RELATION, TAIL, Vocabulary

__all__ = [
    "HEAD",
    "RELATION",
    "SIDES",
    "TAIL",
    "Graph",
    "KnownTriples",
    "Vocabulary",
    "no_triples",
    "reflexive",
    "slot_of",
    "without",
]
Side = Literal["head", "tail"]
SIDES: dict[int, Side] = {HEAD: "head", TAIL: "tail"}
"""Sides of a triple by their column."""


def no_triples() -> Tensor:
    """An empty set of triples, int64 ``[0, 3]``."""
    return torch.empty((0, 3), dtype=torch.long)


def slot_of(relations: Tensor, side: Side) -> Tensor:
    """Number of a relation's side: 2r for heads and 2r + 1 for tails."""
    return 2 * relations + (side == "tail")


def reflexive(triples: Tensor) -> Tensor:
    """Relations ``[R']`` of which the ``triples`` ``[T, 3]`` have a loop: an entity related to itself."""
    return triples[triples[:, HEAD] == triples[:, TAIL], RELATION].unique()


def without(triples: Tensor, others: Tensor) -> Tensor:
    """The rows of ``triples`` ``[T, 3]`` that are not among ``others`` ``[U, 3]``, in their order."""
    _, index = torch.unique(torch.cat([triples, others]), dim=0, return_inverse=True)
    return triples[~torch.isin(index[: len(triples)], index[len(triples) :])]


@dataclass(frozen=True)
class Graph:
    """A multi-modal knowledge graph without its modalities.

    Triples are int64 ``[T, 3]`` in the order head, relation, tail. ``valid`` is the clean development split: no triple
    of it is in train or test. ``known`` holds further true triples (a contaminated split), used only for filtering;
    ``false`` those that are known to be false. ``confidence`` float32 ``[T]`` of the train triples, in (0, 1]; None: 1.
    """

    entities: Vocabulary
    relations: Vocabulary
    train: Tensor
    valid: Tensor
    test: Tensor
    known: Tensor = field(default_factory=no_triples)
    types: tuple[str, ...] | None = None
    false: Tensor = field(default_factory=no_triples)
    confidence: Tensor | None = None

    @property
    def all_triples(self) -> Tensor:
        """Every triple that counts as true: train, valid, test and known, int64 ``[T, 3]``."""
        return torch.cat([self.train, self.valid, self.test, self.known])

    @property
    def selection_triples(self) -> Tensor:
        """The true triples by which model selection may filter, without those of test.

        Test is used only in the final evaluation, so test triples in a contaminated ``known`` are left out too.
        """
        return torch.cat([self.train, self.valid, self.without_test(self.known)])

    def without_test(self, triples: Tensor) -> Tensor:
        """Return the rows of ``triples`` ``[T, 3]`` that are not test triples, for filters of model selection."""
        return without(triples, self.test)


class KnownTriples:
    """Answers to every known query, for filtering and for rejecting false negatives.

    Queries ``(h, r)`` and ``(r, t)`` are int64 codes; a sorted code array with offsets into sorted answers (CSR) takes
    16 bytes per triple and side, and a batch needs one binary search.
    """

    def __init__(self, triples: Tensor, n_entities: int, n_relations: int) -> None:
        self.n_entities, self.n_relations = n_entities, n_relations
        self._codes = torch.unique(self._code(*triples.unbind(-1)))  # sorted; many times faster than unique rows
        queries, tail = self._codes // n_entities, self._codes % n_entities  # the codes are sorted by query already
        self._tails = _Answers.of_runs(queries, tail)
        head, relation = queries // n_relations, queries % n_relations
        self._heads = _Answers.group(tail * n_relations + relation, head)

    @cached_property
    def triples(self) -> Tensor:
        """The distinct triples int64 ``[T, 3]``, sorted; made when first asked for, since the filter needs none."""
        return self._triples(self._codes)

    def to(self, device: torch.device | str) -> "KnownTriples":
        """The same triples on another device."""
        return KnownTriples(self.triples.to(device), self.n_entities, self.n_relations)

    def tails(self, heads: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
        """Known tails of queries ``(h, r, ?)`` ``[B]``: pairs (row in the batch, entity), each ``[P]``."""
        return self._tails.of(heads * self.n_relations + relations)

    def heads(self, relations: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
        """Known heads of queries ``(?, r, t)`` ``[B]``: pairs (row in the batch, entity), each ``[P]``."""
        return self._heads.of(tails * self.n_relations + relations)

    def answers(self, entities: Tensor, relations: Tensor, side: str) -> tuple[Tensor, Tensor]:
        """Known answers on ``side`` (``head`` or ``tail``) for the entities ``[B]`` of the other side."""
        return self.tails(entities, relations) if side == "tail" else self.heads(relations, entities)

    def contains(self, triples: Tensor) -> Tensor:
        """Which triples ``[..., 3]`` are known, bool ``[...]``."""
        codes = self._code(*triples.unbind(-1))
        if not len(self._codes):
            return torch.zeros_like(codes, dtype=torch.bool)
        position = torch.searchsorted(self._codes, codes).clamp_(max=len(self._codes) - 1)
        return self._codes[position] == codes

    def collisions(self, triples: Tensor, side: str, ids: Tensor) -> Tensor:
        """Ascending positions ``[P]`` in the flattened ``ids[B, K]`` that turn ``triples[B, 3]`` into known triples.

        An id replaces the head or the tail, as given by ``side``.
        """
        heads, relations, tails = triples.unbind(1)
        if lookup.usable(ids):
            known, answers = (heads, self._tails) if side == "tail" else (tails, self._heads)
            return lookup.collisions(known * self.n_relations + relations, *answers, ids)
        corrupted = triples.unsqueeze(1).repeat(1, ids.shape[1], 1)
        corrupted[..., TAIL if side == "tail" else HEAD] = ids
        return self.contains(corrupted).flatten().nonzero().squeeze(1)

    def _code(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return (heads * self.n_relations + relations) * self.n_entities + tails

    def _triples(self, codes: Tensor) -> Tensor:
        queries, tail = codes // self.n_entities, codes % self.n_entities
        return torch.stack([queries // self.n_relations, queries % self.n_relations, tail], dim=-1)

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(tuple(triple) for triple in self.triples.tolist())


class _Answers(NamedTuple):
    """CSR map from a query code to its answers: those of ``codes[i]`` are ``answers[offsets[i] : offsets[i + 1]]``."""

    codes: Tensor
    offsets: Tensor
    answers: Tensor

    @classmethod
    def group(cls, codes: Tensor, answers: Tensor) -> "_Answers":
        """Group answers by query; those of one query keep their order."""
        order = torch.argsort(codes, stable=True)
        return cls.of_runs(codes[order], answers[order])

    @classmethod
    def of_runs(cls, codes: Tensor, answers: Tensor) -> "_Answers":
        """Group answers by query, whose codes ascend."""
        distinct, counts = torch.unique_consecutive(codes, return_counts=True)
        return cls(distinct, torch.cat([counts.new_zeros(1), counts.cumsum(0)]), answers)

    def of(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        if not len(self.codes):
            return codes.new_empty(0), codes.new_empty(0)
        position = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        counts = torch.where(self.codes[position] == codes, self.offsets[position + 1] - self.offsets[position], 0)
        rows = torch.repeat_interleave(torch.arange(len(codes), device=codes.device), counts)
        within = torch.arange(len(rows), device=codes.device) - (counts.cumsum(0) - counts)[rows]
        return rows, self.answers[self.offsets[position[rows]] + within]
