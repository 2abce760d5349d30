"""Margin ranking."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.losses.base import NegativeLoss, weighted_mean


class Margin(NegativeLoss):
    """Mean over negatives of max(0, γ − s⁺ + s⁻).

    Bordes et al. 2013, eq. 1.
    """

    def __init__(self, *, margin: Annotated[float, Field(gt=0, description="γ")] = 1.0) -> None:
        self.margin = margin

    def __call__(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        violations = (self.margin - positive.unsqueeze(-1) + negative).relu()
        return violations.mean(-1) if weights is None else weighted_mean(violations, weights)
