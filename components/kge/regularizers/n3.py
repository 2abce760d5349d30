"""N3."""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.regularizers.base import Regularizer
from mmkgc.components.kge.tensors import total

if TYPE_CHECKING:
    from mmkgc.components.kge.model import Model


class N3(Regularizer):
    """λ/B Σ_batch (‖h‖₃³ + ‖r‖₃³ + ‖t‖₃³), of complex moduli where coordinates are complex: the nuclear 3-norm.

    Lacroix et al. 2018, eq. 6.
    """

    def __init__(self, *, weight: Annotated[float, Field(ge=0, description="λ")] = 0.005) -> None:
        self.weight = weight

    def penalty(self, model: "Model", factors: list[Tensor]) -> Tensor:
        return self.weight * total(factor.pow(3).sum(-1).mean() for factor in factors)
