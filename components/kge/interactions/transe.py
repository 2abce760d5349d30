"""TransE."""

from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import L1, L2


class TransE(QueryInteraction):
    """−‖h + r − t‖ₚ: a relation is a translation.

    Bordes et al. 2013, eq. 1. ``normalize`` scales h, r and t to unit length, as OpenKE does (the paper: only entities,
    once per epoch); the RotatE code base does not normalise. With p = 2 and unit vectors a distance is at most 3, so
    larger margins saturate.
    """

    def __init__(
        self,
        dimension: int,
        *,
        p: Annotated[Literal[1, 2], Field(description="norm of the distance")] = 1,
        normalize: Annotated[bool, Field(description="unit vectors")] = False,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init)
        self.geometry = L1() if p == 1 else L2()
        self.normalize = normalize

    def entity(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=-1) if self.normalize else vectors

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        relation = self.entity(relation)
        return known + relation if side == "tail" else known - relation
