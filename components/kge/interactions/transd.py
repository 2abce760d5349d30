"""TransD."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.interactions.base import Init, ProjectionInteraction, Side
from mmkgc.components.kge.interactions.geometry import L1, L2


class TransD(ProjectionInteraction):
    """−‖h⊥ + r − t⊥‖ₚ, e⊥ = e + (e_p·e) r_p with unit norm: the projection depends on entity and relation.

    Ji et al. 2015, eq. 11–13, with equal widths of entities and relations; the paper bounds the norm of e⊥ by one, here
    it is one, as in OpenKE. An entity vector is [e, e_p], a relation vector [r, r_p].
    """

    def __init__(
        self,
        dimension: int,
        *,
        p: Annotated[Literal[1, 2], Field(description="norm of the distance")] = 2,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init, entity_width=2 * dimension, relation_width=2 * dimension)
        self.geometry = L1() if p == 1 else L2()

    def entity(self, vectors: Tensor) -> Tensor:
        """[e, e_p·e], the part of the projection that depends only on the entity."""
        vector, projection = vectors.chunk(2, dim=-1)
        return torch.cat([vector, (vector * projection).sum(-1, keepdim=True)], dim=-1)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        translation, _ = relation.chunk(2, dim=-1)
        projected = self.key(known, relation, side)
        return projected + translation if side == "tail" else projected - translation

    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        _, projection = relation.chunk(2, dim=-1)
        return normalize(candidate[..., :-1] + candidate[..., -1:] * projection, dim=-1)
