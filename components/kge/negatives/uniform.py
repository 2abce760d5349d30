"""Uniform corruption."""

from typing import TYPE_CHECKING, ClassVar

from components.kge.negatives.base import Batch, Block, Context, Real, Strategy
from components.kge.negatives.corruption import Corruption, Count, Sides

if TYPE_CHECKING:
    from components.kge.model import Model


class Uniform(Strategy):
    """Replace head or tail, each with probability ½, by uniform entities that make no train triple."""

    sides: ClassVar[Sides] = "uniform"

    def __init__(self, context: Context, *, count: Count = 64) -> None:
        super().__init__()
        self.count = count
        self.corruption = Corruption(context, self.sides)

    def sample(self, batch: Batch, model: "Model") -> list[Block]:
        return [Block.of(rows, side, Real(ids)) for rows, side, ids in self.corruption(batch, self.count)]
