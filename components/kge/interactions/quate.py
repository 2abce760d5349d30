"""QuatE."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot


class QuatE(QueryInteraction):
    """(h ⊗ r/|r|) · t: a relation rotates the head's quaternions by unit quaternions.

    Zhang et al. 2019, eq. 4–6. A vector is the concatenation of the four parts of its ``dimension`` quaternions; the
    head query is t ⊗ r̄, since (h ⊗ r)·t = h·(t ⊗ r̄) for unit r.
    """

    def __init__(self, dimension: int, *, init: Init = 0.1) -> None:
        super().__init__(dimension, init, entity_width=4 * dimension, relation_width=4 * dimension)
        self.geometry = Dot()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        rotation = normalize(relation.unflatten(-1, (4, -1)), dim=-2).flatten(-2)
        return hamilton_product(known, rotation if side == "tail" else conjugate(rotation))


def hamilton_product(left: Tensor, right: Tensor) -> Tensor:
    """left ⊗ right ``[..., 4d]``."""
    a, b, c, d = left.chunk(4, dim=-1)
    w, x, y, z = right.chunk(4, dim=-1)
    parts = [
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    ]
    return torch.cat(parts, dim=-1)


def conjugate(quaternions: Tensor) -> Tensor:
    """The imaginary parts negated."""
    real, *imaginary = quaternions.chunk(4, dim=-1)
    return torch.cat([real, *(-part for part in imaginary)], dim=-1)
