"""The graph as the model library sees it: vocabularies, integer triples, and a filter of known triples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from components.kge.kernels import lookup

HEAD, RELATION, TAIL = 0, 1, 2
HASH_FACTOR = -7046029254386353131  # 2⁶⁴/φ as a signed number


@dataclass(frozen=True)
class Vocabulary:
    """Keys and human names of entities or relations; an id is a position."""

    keys: tuple[str, ...]
    names: tuple[str, ...]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id by key."""
        return {key: index for index, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)


def no_triples() -> Tensor:
    """An empty set of triples, int64 ``[0, 3]``."""
    return torch.empty((0, 3), dtype=torch.long)


@dataclass(frozen=True)
class Graph:
    """A multi-modal knowledge graph without its modalities.

    Triples are int64 ``[T, 3]`` in the order head, relation, tail. ``valid`` is the clean development split: no triple
    of it is in train or test. ``known`` holds further true triples (a contaminated split) that only the filter sees.
    """

    entities: Vocabulary
    relations: Vocabulary
    train: Tensor
    valid: Tensor
    test: Tensor
    known: Tensor = field(default_factory=no_triples)
    types: tuple[str, ...] | None = None

    @property
    def all_triples(self) -> Tensor:
        """Every triple that counts as true: train, valid, test and known, int64 ``[T, 3]``."""
        return torch.cat([self.train, self.valid, self.test, self.known])

    @property
    def selection_triples(self) -> Tensor:
        """The true triples that model selection may filter by: all but test, which only the final evaluation reads."""
        return torch.cat([self.train, self.valid, self.known])


class KnownTriples:
    """Answers of every known query, for filters and for the rejection of false negatives.

    Queries ``(h, r)`` and ``(r, t)`` are int64 codes; a sorted code array with offsets into sorted answers (CSR) takes
    16 bytes a triple and side, and a batch is looked up with one binary search.
    """

    def __init__(self, triples: Tensor, n_entities: int, n_relations: int) -> None:
        self.n_entities, self.n_relations = n_entities, n_relations
        self._codes = torch.unique(self._code(*triples.unbind(-1)))  # sorted; many times faster than unique rows
        self.triples = self._triples(self._codes)
        head, relation, tail = self.triples.unbind(1)
        self._tails = _Answers(head * n_relations + relation, tail)
        self._heads = _Answers(tail * n_relations + relation, head)

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
        return self.holds(*triples.unbind(-1))

    def holds(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        """Which triples are known, bool ``[...]``; dimensions broadcast.

        A hash spares most of the unknown a binary search, which costs ten times as much.
        """
        codes = self._code(heads, relations, tails)
        flat = codes.reshape(-1)
        if lookup.usable(flat):
            shift = 64 - self._hash_bits
            return lookup.holds(flat, self._codes, self._taken_bits, HASH_FACTOR, shift).view(codes.shape)
        found = self._taken.index_select(0, self._hash(flat))
        likely = found.nonzero().squeeze(1)
        position = torch.searchsorted(self._codes, flat[likely]).clamp_(max=len(self._codes) - 1)
        found[likely] = self._codes[position] == flat[likely]
        return found.view(codes.shape)

    @cached_property
    def _taken(self) -> Tensor:
        """Whether a known code has this hash: at most one place of sixteen is true."""
        taken = torch.zeros(1 << self._hash_bits, dtype=torch.bool, device=self._codes.device)
        taken[self._hash(self._codes)] = True
        return taken

    @cached_property
    def _taken_bits(self) -> NDArray[np.uint8]:
        return np.packbits(self._taken.numpy(), bitorder="little")

    def _hash(self, codes: Tensor) -> Tensor:
        """The upper bits of the product with 2⁶⁴/φ, modulo 2⁶⁴ (Knuth's multiplicative hash)."""
        mixed = codes * HASH_FACTOR
        return (mixed >> (64 - self._hash_bits)) & ((1 << self._hash_bits) - 1)

    @property
    def _hash_bits(self) -> int:
        return (16 * len(self._codes)).bit_length()

    def _code(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        return (heads * self.n_relations + relations) * self.n_entities + tails

    def _triples(self, codes: Tensor) -> Tensor:
        queries, tail = codes // self.n_entities, codes % self.n_entities
        return torch.stack([queries // self.n_relations, queries % self.n_relations, tail], dim=-1)

    def __len__(self) -> int:
        return len(self.triples)

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        return iter(tuple(triple) for triple in self.triples.tolist())


class _Answers:
    """CSR map from a query code to its answers."""

    def __init__(self, codes: Tensor, answers: Tensor) -> None:
        order = torch.argsort(codes, stable=True)
        self.codes, counts = torch.unique_consecutive(codes[order], return_counts=True)
        self.answers = answers[order]
        self.offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])

    def of(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        if not len(self.codes):
            return codes.new_empty(0), codes.new_empty(0)
        position = torch.searchsorted(self.codes, codes).clamp(max=len(self.codes) - 1)
        counts = torch.where(self.codes[position] == codes, self.offsets[position + 1] - self.offsets[position], 0)
        rows = torch.repeat_interleave(torch.arange(len(codes), device=codes.device), counts)
        within = torch.arange(len(rows), device=codes.device) - (counts.cumsum(0) - counts)[rows]
        return rows, self.answers[self.offsets[position[rows]] + within]
