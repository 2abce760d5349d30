"""Corrupted triples, one for each true one, for triple classification."""

import torch
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples

ATTEMPTS = 50


class UniformNegatives:
    """Corrupts triples by entities drawn uniformly from all, head or tail with probability ½."""

    def __init__(self, n_entities: int) -> None:
        self.n_entities = n_entities

    def pair(self, triples: Tensor, known: KnownTriples, seed: int) -> tuple[Tensor, Tensor]:
        """One negative for each of ``triples`` ``[T, 3]``: positives and negatives, row by row, each ``[T', 3]``.

        No negative is in ``known``. A triple for which no negative is found is left out of both.
        """
        generator = torch.Generator().manual_seed(seed)
        negatives = triples.clone()
        slots = torch.where(torch.rand(len(triples), generator=generator) < 0.5, HEAD, TAIL)
        pending = torch.arange(len(triples))
        for attempt in range(ATTEMPTS):
            drawn = self.draw(triples[pending, RELATION], slots[pending], generator, attempt)
            negatives[pending, slots[pending]] = drawn
            pending = pending[known.contains(negatives[pending]) | (negatives[pending] == triples[pending]).all(1)]
        kept = torch.ones(len(triples), dtype=torch.bool)
        kept[pending] = False
        return triples[kept], negatives[kept]

    def draw(self, relations: Tensor, slots: Tensor, generator: torch.Generator, attempt: int) -> Tensor:
        """Entities ``[B]`` for the slots (head or tail) of triples with ``relations[B]``."""
        return torch.randint(self.n_entities, relations.shape, generator=generator)


class PlausibleNegatives(UniformNegatives):
    """Corrupts triples as Socher et al. 2013 do: the new entity occurs in train in that slot of that relation.

    Such negatives have the right type (a city for a capital), so distinguishing types is not enough. After half of all
    attempts, entities are drawn from all, in case the relation offers none that makes an unknown triple.
    """

    def __init__(self, train: Tensor, n_entities: int, n_relations: int) -> None:
        super().__init__(n_entities)
        self._pools = {slot: _Pool(train, slot, n_relations) for slot in (HEAD, TAIL)}

    def draw(self, relations: Tensor, slots: Tensor, generator: torch.Generator, attempt: int) -> Tensor:
        """As in the base class."""
        if attempt >= ATTEMPTS // 2:
            return super().draw(relations, slots, generator, attempt)
        luck = torch.rand(len(relations), generator=generator, dtype=torch.float64)
        heads, tails = (self._pools[slot].at(relations, luck, self.n_entities) for slot in (HEAD, TAIL))
        return torch.where(slots == HEAD, heads, tails)


class _Pool:
    """Distinct entities of one slot, relation by relation."""

    def __init__(self, train: Tensor, slot: int, n_relations: int) -> None:
        pairs = torch.unique(train[:, [RELATION, slot]], dim=0)
        self.entities = pairs[:, 1]
        self.sizes = torch.bincount(pairs[:, 0], minlength=n_relations)
        self.starts = self.sizes.cumsum(0) - self.sizes

    def at(self, relations: Tensor, luck: Tensor, n_entities: int) -> Tensor:
        """The entity at the fraction ``luck`` ∈ [0, 1) of each relation's pool, or of all entities if empty."""
        sizes = self.sizes[relations]
        if not len(self.entities):
            return (luck * n_entities).long()
        position = (self.starts[relations] + (luck * sizes).long()).clamp(max=len(self.entities) - 1)
        return torch.where(sizes > 0, self.entities[position], (luck * n_entities).long())
