"""Which queries are scored: relations that an entity's peers have, unless they are functional and answered.

A slot is one side of a relation: being head of r, or being tail of r. An entity's marks are its type, if the graph has
types, and the slots that it fills in train. Peers are entities that share a mark. Let M be the marks [N, K] and S the
filled slots [N, 2R] as 0/1 matrices. The share of an entity's peers that fill slot s is

    share(e, s) = mean over the marks m of e of P(s | m),    P(s | m) = (MᵀS)[m, s] / number of entities with m.

Example: a country is queried for its currency because countries have one; an untyped entity with a capital is queried
because most entities with a capital have one; a river is not. An entity without type and train triples has no peers
and is not queried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, SIDES, TAIL, KnownTriples, Side, reflexive
from mmkgc.components.propose.config import ProposeConfig


@dataclass(frozen=True)
class Pairs:
    """Pairs of ``heads [H]`` and ``tails [T]`` (ascending ids) that may be missing triples of a relation.

    Queries are asked from the side with fewer entities: a million people and two sexes need only two queries.
    """

    relation: int
    heads: Tensor
    tails: Tensor

    @property
    def sought(self) -> Side:
        """The side that the queries ask for."""
        return "tail" if len(self.heads) <= len(self.tails) else "head"

    @property
    def asked(self) -> Tensor:
        """The entities that are queried, one query each."""
        return self.heads if self.sought == "tail" else self.tails

    @property
    def answers(self) -> Tensor:
        """The candidate answers."""
        return self.tails if self.sought == "tail" else self.heads

    def __len__(self) -> int:
        return len(self.heads) * len(self.tails)


class Questions:
    """Selects the pairs of entities to score, relation by relation; ``train``: triples ``[T, 3]``."""

    def __init__(
        self,
        train: Tensor,
        types: Sequence[str | None] | None,
        n_entities: int,
        n_relations: int,
        config: ProposeConfig,
    ) -> None:
        self.train, self.n_relations, self.config = train.numpy(), n_relations, config
        filled = _filled(self.train, n_entities, n_relations)
        self.marks = sparse.hstack([_types(types, n_entities), filled]).tocsr()
        with_mark = np.maximum(self.marks.sum(axis=0), 1)
        self.slots_given_mark = (self.marks.T @ filled).multiply(1 / with_mark[:, None]).tocsc()
        self.n_marks = np.maximum(self.marks.sum(axis=1), 1)
        self.reflexive = set(reflexive(train).tolist())
        self.functional = {side: self._functional(side) for side in SIDES}

    def pairs(self, relation: int) -> Pairs:
        """The pairs of a relation to score, selected by the train triples."""
        heads, tails = self._worth_asking(relation, HEAD), self._worth_asking(relation, TAIL)
        return Pairs(relation, torch.from_numpy(np.flatnonzero(heads)), torch.from_numpy(np.flatnonzero(tails)))

    def full(self, relation: int, known: KnownTriples) -> Iterator[tuple[Side, Tensor]]:
        """Sides on which the relation is functional, with the entities whose only answer is in ``known``."""
        triples = known.triples[known.triples[:, RELATION] == relation]
        for column, side in SIDES.items():
            if self.functional[column][relation]:
                yield side, triples[:, column].unique()

    def peer_share(self, relation: int, column: int) -> np.ndarray:
        """Share of each entity's peers that are head (or tail: ``column``) of the relation, float64 ``[N]``."""
        slot = relation if column == HEAD else self.n_relations + relation
        return np.asarray(self.marks @ self.slots_given_mark[:, [slot]].toarray())[:, 0] / self.n_marks

    def _worth_asking(self, relation: int, column: int) -> np.ndarray:
        share = self.peer_share(relation, column)
        worth = (share >= self.config.peers) & (share > 0)
        if self.functional[column][relation]:
            worth[self.train[self.train[:, RELATION] == relation, column]] = False
        return worth

    def _functional(self, column: int) -> np.ndarray:
        """Relations, bool ``[R]``, of which nearly every entity in the slot ``column`` has exactly one triple.

        One exception is added per relation, so that a few triples are not enough evidence.
        """
        slots, counts = np.unique(self.train[:, [RELATION, column]], axis=0, return_counts=True)
        entities = np.bincount(slots[:, 0], minlength=self.n_relations)
        single = np.bincount(slots[counts == 1, 0], minlength=self.n_relations)
        return single >= self.config.functional * (entities + 1)


def _filled(train: np.ndarray, n_entities: int, n_relations: int) -> sparse.csr_array:
    """Slots that entities fill: 0/1 ``[N, 2R]``, first being head of each relation, then being tail."""
    entities = np.concatenate([train[:, HEAD], train[:, TAIL]])
    slots = np.concatenate([train[:, RELATION], n_relations + train[:, RELATION]])
    return _binary(entities, slots, (n_entities, 2 * n_relations))


def _types(types: Sequence[str | None] | None, n_entities: int) -> sparse.csr_array:
    """Types of entities: 0/1 ``[N, number of types]``; an entity may have none."""
    typed = [(entity, name) for entity, name in enumerate(types or ()) if name]
    names = sorted({name for _, name in typed})
    column = {name: index for index, name in enumerate(names)}
    entities, columns = [entity for entity, _ in typed], [column[name] for _, name in typed]
    return _binary(np.array(entities, int), np.array(columns, int), (n_entities, len(names)))


def _binary(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    matrix = sparse.csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)
    matrix.data[:] = 1  # duplicates were summed
    return matrix
