"""TransH."""

from collections.abc import Iterable
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.interactions.base import Init, ProjectionInteraction, Side
from mmkgc.components.kge.interactions.geometry import L1, L2


class TransH(ProjectionInteraction):
    """−‖h⊥ + d_r − t⊥‖ₚ, e⊥ = e − (w·e) w: a translation on the relation's hyperplane with unit normal w.

    Wang et al. 2014, eq. 1 (there squared L2). w is normalised here, in the forward pass, instead of by a constraint;
    the constraint w ⊥ d_r is the penalty ``orthogonality`` · mean((w·d_r)² / ‖d_r‖²), eq. 4. A relation vector is
    [d_r, w].
    """

    def __init__(
        self,
        dimension: int,
        *,
        p: Annotated[Literal[1, 2], Field(description="norm of the distance")] = 2,
        orthogonality: Annotated[float, Field(ge=0, description="weight of the penalty on w·d_r")] = 0.0,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init, relation_width=2 * dimension)
        self.geometry = L1() if p == 1 else L2()
        self.orthogonality = orthogonality

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        translation, _ = relation.chunk(2, dim=-1)
        projected = self.key(known, relation, side)
        return projected + translation if side == "tail" else projected - translation

    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        normal = normalize(relation.chunk(2, dim=-1)[1], dim=-1)
        return candidate - (candidate * normal).sum(-1, keepdim=True) * normal

    def auxiliary(self, relations: Iterable[Tensor]) -> dict[str, Tensor]:
        if not self.orthogonality:
            return {}
        translation, normal = torch.cat(list(relations)).chunk(2, dim=-1)
        cosine = (normalize(translation, dim=-1) * normalize(normal, dim=-1)).sum(-1)
        return {"orthogonality": self.orthogonality * cosine.square().mean()}
