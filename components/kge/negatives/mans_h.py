"""MANS-H."""

from typing import Annotated

from pydantic import Field

from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides
from mmkgc.components.kge.negatives.mans_v import MansV


class MansH(MansV):
    """Hybrid: the share β₂ of every batch's negatives is modality-aware; 0 is normal sampling, 1 is MANS-V.

    Zhang et al. 2023 (MANS), section IV-C.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
        beta: Annotated[float, Field(ge=0, le=1, description="share of modality-aware negatives, β₂")] = 0.3,
    ) -> None:
        super().__init__(context, count=count, sides=sides)
        self.beta = beta

    def share(self) -> float:
        return self.beta
