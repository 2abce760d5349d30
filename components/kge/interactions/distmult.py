"""DistMult."""

from torch import Tensor

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot


class DistMult(QueryInteraction):
    """Σᵢ hᵢ rᵢ tᵢ: a relation weighs coordinates; symmetric in h and t.

    Yang et al. 2015, eq. 2 with a diagonal matrix.
    """

    def __init__(self, *, init: Init = 0.1) -> None:
        super().__init__(init)
        self.geometry = Dot()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return known * relation
