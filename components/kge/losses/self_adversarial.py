"""Self-adversarial log-sigmoid."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from mmkgc.components.kge.losses.base import TINY, NegativeLoss


class SelfAdversarial(NegativeLoss):
    """−½[log σ(γ + s⁺) + Σₖ wₖ log σ(−γ − sₖ⁻)], w = softmax(α s⁻) without gradient.

    Sun et al. 2019, eq. 5–6; the factor ½ is their code's. AdaMF's eq. 8 prints the weights with the sign of a
    distance; here s is a score, so harder negatives weigh more. α = 0 gives equal weights. Bilinear models use γ = 0.
    """

    def __init__(
        self,
        *,
        margin: Annotated[float, Field(ge=0, description="γ")] = 12.0,
        temperature: Annotated[float, Field(ge=0, description="α, sharpness of the negatives' weights")] = 1.0,
    ) -> None:
        self.margin, self.temperature = margin, temperature

    def __call__(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        shares = (self.temperature * negative.detach()).softmax(-1)
        if weights is not None:
            shares = shares * weights
            shares = shares / shares.sum(-1, keepdim=True).clamp(min=TINY)
        of_positive = logsigmoid(self.margin + positive)
        of_negative = (shares * logsigmoid(-self.margin - negative)).sum(-1)
        return -(of_positive + of_negative) / 2
