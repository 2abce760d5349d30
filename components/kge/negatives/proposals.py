"""Base class of samplers that draw entities from a distribution of their own, and lists to draw from."""

from abc import abstractmethod
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock


class ProposingSampler(NegativeSampler):
    """Draws K entities for each positive from the distribution of the subclass.

    Train positives are redrawn for some rounds, and those left are replaced by uniform entities; so the distribution of
    the result is only approximately that of the subclass, restricted to entities that make no train triple.
    """

    def __init__(self, context: Context, count: int, sides: Sides) -> None:
        super().__init__()
        self.count, self.corruption, self.random = count, Corruption(context, sides), context.generator

    @abstractmethod
    def propose(self, known: Tensor, relations: Tensor, gold: Tensor, side: Side, count: int) -> Tensor:
        """Entities ``[b, count]`` for ``side`` of triples whose other side is ``known[b]`` and whose own ``gold[b]``.

        A train positive among them, such as ``gold`` itself, means that there is nothing to propose.
        """

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        blocks = []
        for rows, side in self.corruption.sides(batch):
            triples = batch.triples[rows]
            propose = partial(self._propose_at, triples, side)
            ids = self.corruption.replacements(triples, side, self.count, propose)
            blocks.append(NegativeBlock.of(rows, side, EntityNegatives(ids)))
        return blocks

    def _propose_at(self, triples: Tensor, side: Side, rows: Tensor, count: int) -> Tensor:
        heads, relations, tails = triples[rows].unbind(1)
        known, gold = (heads, tails) if side == "tail" else (tails, heads)
        return self.propose(known, relations, gold, side, count)


class Lists(NamedTuple):
    """Lists of entities; list i is ``values[offsets[i] : offsets[i + 1]]``."""

    offsets: Tensor
    values: Tensor

    @classmethod
    def group(cls, numbers: Tensor, values: Tensor, count: int) -> "Lists":
        """Make ``count`` lists; ``values[V]`` go to the lists ``numbers[V]``, in their order."""
        sizes = numbers.bincount(minlength=count)
        return cls(torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]), values[numbers.argsort(stable=True)])

    @property
    def sizes(self) -> Tensor:
        """Entities of each list."""
        return self.offsets.diff()

    def of(self, number: int) -> Tensor:
        """One list."""
        return self.values[self.offsets[number] : self.offsets[number + 1]]

    def draw(self, numbers: Tensor, count: int, otherwise: Tensor, random: torch.Generator) -> Tensor:
        """``count`` entities of each list in ``numbers[b]``, uniformly; ``otherwise[b]`` if a list is empty."""
        sizes = self.sizes[numbers].unsqueeze(1)
        if not len(self.values):
            return otherwise.unsqueeze(1).repeat(1, count)
        place = self.offsets[numbers].unsqueeze(1) + below(sizes.expand(-1, count), random)
        drawn = self.values[place.clamp(max=len(self.values) - 1)].long()
        return torch.where(sizes > 0, drawn, otherwise.unsqueeze(1))


def below(limits: Tensor, random: torch.Generator) -> Tensor:
    """Uniform integers ``[...]`` from 0 to below ``limits[...]``, which are less than 2²⁴; 0 where a limit is 0."""
    share = torch.rand(limits.shape, generator=random, device=limits.device)
    return torch.minimum((share * limits).long(), limits - 1).clamp(min=0)
