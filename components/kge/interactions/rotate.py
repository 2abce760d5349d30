"""RotatE."""

from collections.abc import Sequence
from math import pi
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmkgc.components.kge.interactions.base import Init, Query, QueryInteraction, Side
from mmkgc.components.kge.interactions.complex import halves
from mmkgc.components.kge.interactions.geometry import Modulus
from mmkgc.components.kge.kernels import rotation
from mmkgc.components.kge.tensors import joined


class RotatE(QueryInteraction):
    """−Σᵢ|hᵢ e^{iθᵢ} − tᵢ|: a relation rotates each complex coordinate.

    Sun et al. 2019, eq. 3–4; a sum of moduli as in the paper, not the norm of the whole vector. Phases are stored on
    a scale of their own, θ = π r / relation_init, which determines how fast Adam changes them; as in the authors' code
    it is by default that of the entities. Their ``init`` is (γ + 2) / dimension.
    """

    def __init__(
        self,
        dimension: int,
        *,
        init: Init = 0.07,
        relation_init: Annotated[
            float | None, Field(gt=0, description="half width of the relations' values; default: init")
        ] = None,
    ) -> None:
        super().__init__(dimension, init, entity_width=2 * dimension)
        self.relation_init = relation_init or init
        self.geometry = Modulus()

    def initialise_relations(self, vectors: Tensor) -> Tensor:
        return torch.nn.init.uniform_(vectors, -self.relation_init, self.relation_init)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return _Rotation.apply(known, self._phase(relation, side))

    def _queries(self, asked: Sequence[Query]) -> Tensor:
        """As in the base class, with one rotation for all groups: inverse rotations have negative phases."""
        known = joined([known for known, _, _ in asked])
        return _Rotation.apply(known, joined([self._phase(relation, side) for _, relation, side in asked]))

    def _phase(self, relation: Tensor, side: Side) -> Tensor:
        return relation * (pi / self.relation_init if side == "tail" else -pi / self.relation_init)


class _Rotation(torch.autograd.Function):
    """vector ∘ e^{i phase}, ``[..., 2d]`` and ``[..., d]``.

    The gradient is in closed form for speed; the derivative by the phase is i times the result.
    """

    @staticmethod
    def forward(ctx: Any, vector: Tensor, phase: Tensor) -> Tensor:
        cosine, sine = phase.cos(), phase.sin()
        ctx.compiled, ctx.shapes = rotation.usable(vector, phase), (vector.shape, phase.shape)
        if ctx.compiled:
            rotated = rotation.rotate(vector, cosine, sine)
        else:
            x, y = halves(vector)
            rotated = torch.cat([x * cosine - y * sine, x * sine + y * cosine], dim=-1)
        ctx.save_for_backward(cosine, sine, rotated)
        return rotated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine, rotated = ctx.saved_tensors
        if ctx.compiled:
            return rotation.pull(gradient, cosine, sine, rotated)
        (real, imaginary), (x, y) = halves(rotated), halves(gradient)
        of_vector = torch.cat([x * cosine + y * sine, y * cosine - x * sine], dim=-1)
        return of_vector.sum_to_size(ctx.shapes[0]), (y * real - x * imaginary).sum_to_size(ctx.shapes[1])
