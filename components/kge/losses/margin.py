"""Margin ranking."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.losses.base import NegativeLoss


class Margin(NegativeLoss):
    """Mean over negatives of max(0, γ − s⁺ + s⁻).

    Bordes et al. 2013, eq. 1.
    """

    def __init__(self, *, margin: Annotated[float, Field(gt=0, description="γ")] = 1.0) -> None:
        self.margin = margin

    def loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        return (self.margin - positive.unsqueeze(-1) + negative).relu().mean(-1)
