"""Uniform corruption."""

from typing import ClassVar

from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock


class Uniform(NegativeSampler):
    """Replace head or tail, each with probability ½, by uniform entities that make no train triple."""

    sides: ClassVar[Sides] = "uniform"

    def __init__(self, context: Context, *, count: Count = 64) -> None:
        super().__init__()
        self.count = count
        self.corruption = Corruption(context, self.sides)

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self.corruption.blocks(batch, self.count)
