"""MANS-T."""

from typing import Annotated

from pydantic import Field

from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides
from mmkgc.components.kge.negatives.mans_v import MansV


class MansT(MansV):
    """Two stages: modality-aware negatives for the first β₁ of all epochs, then normal ones.

    Zhang et al. 2023 (MANS), section IV-B.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
        beta: Annotated[float, Field(ge=0, le=1, description="share of epochs in the first stage, β₁")] = 0.3,
    ) -> None:
        super().__init__(context, count=count, sides=sides)
        self.beta, self.done = beta, 0.0

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.done = epoch / epochs

    def share(self) -> float:
        return float(self.done < self.beta)

    def selectable(self, epoch: int, epochs: int) -> bool:
        """Whether the second stage has begun; in the first, the model learns only alignment."""
        return epoch / epochs >= self.beta or self.beta == 1
