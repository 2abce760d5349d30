"""Hardness-adaptive loss (HAL)."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from mmkgc.components.kge.losses.base import NegativeLoss


class HardnessAdaptive(NegativeLoss):
    """−½ Σₗ wₗ [log σ(γ + s⁺) + log σ(−mₗ γ − sₗ⁻)]: the l-th negative of a positive has the l-th level of hardness.

    Niu & Zhang 2025 (DHNS), eq. 13. The paper's E and S are distances, and its γ_t and w are not given; the released
    code multiplies γ of the negatives by a factor and keeps the positive's full γ, which is done here.
    """

    graded = True

    def __init__(
        self,
        *,
        margin: Annotated[float, Field(ge=0, description="γ")] = 12.0,
        margins: Annotated[tuple[float, ...], Field(description="factors m of γ by level")] = (0.3, 0.5, 0.7, 0.9),
        weights: Annotated[tuple[float, ...], Field(description="weights w, one a level")] = (0.5, 1.0, 1.0, 0.5),
    ) -> None:
        self.margin = margin
        self.margins, self.weights = torch.tensor(margins), torch.tensor(weights)

    def __call__(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        margins, levels = self.margins.to(negative), self.weights.to(negative)
        of_negative = logsigmoid(-self.margin * margins - negative)
        levels = levels if weights is None else levels * weights
        return -(levels * (logsigmoid(self.margin + positive).unsqueeze(-1) + of_negative)).sum(-1) / 2
