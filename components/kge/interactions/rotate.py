"""RotatE."""

from math import pi

import torch
from torch import Tensor

from components.kge.interactions.base import Init, QueryInteraction, Side
from components.kge.interactions.complex import complex_product
from components.kge.interactions.geometry import Modulus


class RotatE(QueryInteraction):
    """−Σᵢ|hᵢ e^{iθᵢ} − tᵢ|: a relation rotates each complex coordinate.

    Sun et al. 2019, eq. 3–4; a sum of moduli as in the paper, not the norm of the whole vector. Phases are stored on
    the scale of the entities, θ = π r / init, as in the authors' code: it decides how fast Adam turns them. Their
    ``init`` is (γ + 2) / dimension.
    """

    def __init__(self, *, init: Init = 0.07) -> None:
        super().__init__(init)
        self.geometry = Modulus()

    def entity_width(self, dimension: int) -> int:
        return 2 * dimension

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        phase = relation * (pi / self.init)
        rotation = torch.cat([phase.cos(), phase.sin()], dim=-1)
        return complex_product(known, rotation, conjugate=side == "head")
