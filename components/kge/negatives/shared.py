"""Uniform corruption with negatives that many positives share."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock


class Shared(NegativeSampler):
    """Uniform negatives that a group of positives shares: for large graphs, where encoding entities is what costs.

    As in PyTorch-BigGraph (Lerer et al. 2019) and DGL-KE (Zheng et al. 2020), ``count`` entities corrupt every positive
    of a group, so that a batch encodes ``count`` further entities per group and side, not per positive. An entity that
    makes a train triple of a positive is replaced for that positive, by another one of the group if possible.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "uniform",
        group: Annotated[int, Field(gt=0, description="positives that share their negatives")] = 1024,
    ) -> None:
        super().__init__()
        self.count, self.group, self.random = count, group, context.generator
        self.corruption = Corruption(context, sides)

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return [
            NegativeBlock.of(part, side, self._negatives(batch.triples[part], side))
            for rows, side in self.corruption.sides(batch)
            for part in rows.split(self.group)
        ]

    def _negatives(self, triples: Tensor, side: Side) -> EntityNegatives:
        """Negatives of a group of ``triples[b, 3]``."""
        device = triples.device
        pool = torch.randint(self.corruption.n_entities, (self.count,), generator=self.random, device=device)

        def propose(rows: Tensor, count: int) -> Tensor:
            if count == len(pool):
                return pool.repeat(len(rows), 1)
            return pool[torch.randint(len(pool), (len(rows), count), generator=self.random, device=device)]

        ids = self.corruption.replacements(triples, side, self.count, propose)
        places = torch.arange(self.count, device=device).repeat(len(triples), 1)
        replaced = ids != pool
        others = ids[replaced]
        places[replaced] = self.count + torch.arange(len(others), device=device)
        return EntityNegatives(ids, pool=torch.cat([pool, others]), places=places)
