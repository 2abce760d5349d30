"""DistMult."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from components.kge.interactions.base import QueryInteraction, Side
from components.kge.interactions.geometry import Dot


class DistMult(QueryInteraction):
    """Σᵢ hᵢ rᵢ tᵢ: a relation weighs coordinates; symmetric in h and t.

    Yang et al. 2015, eq. 2 with a diagonal matrix.
    """

    def __init__(
        self, *, init: Annotated[float, Field(gt=0, description="half width of the uniform initial values")] = 0.1
    ) -> None:
        super().__init__(init)
        self.geometry = Dot()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return known * relation
