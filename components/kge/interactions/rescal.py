"""RESCAL."""

import torch
from torch import Tensor

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot


class RESCAL(QueryInteraction):
    """hᵀ M_r t: a full matrix for every relation, d² parameters each.

    Nickel et al. 2011, eq. 1.
    """

    def __init__(self, dimension: int, *, init: Init = 0.1) -> None:
        super().__init__(dimension, init, relation_width=dimension**2)
        self.geometry = Dot()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        matrix = relation.unflatten(-1, (known.shape[-1], known.shape[-1]))
        return torch.einsum("...i,...ij->...j" if side == "tail" else "...j,...ij->...i", known, matrix)
