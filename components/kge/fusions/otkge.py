"""OTKGE."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, EntityEncoder, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import random_vectors

Share = Annotated[float, Field(ge=0, le=1, description="weight of the modality in an entity's vector")]
TOLERANCE = 1e-6  # relative error allowed between the plan's sums and the marginals


class OTKGE(Fusion):
    """Features transported to the coordinates of the structural vectors by optimal transport, then mixed with them.

    Cao et al. 2022, whose interaction is ComplEx: e = (1 − α − γ) e_s + α f_v (T_v + M_v) + γ f_t (T_t + M_t), M
    learned. T is the mean of the entropic plans of the first ``anchors`` entities, each between the coordinates of its
    feature and of its structural vector with cost (f_i − e_j)², divided by its maximum; no gradient goes through the
    iterations. The released code computes the plan in each step, from the first entities of the **batch**, so that an
    entity's vector depends on the batch; here the entities are fixed, and the plan is computed once per epoch. A plan
    of total mass 1 is negligible compared with M; here each column sums to 1, so that a coordinate of f T is a mean of
    coordinates of f. A modality that an entity lacks contributes nothing. Before the first epoch the plan is uniform.
    """

    def __init__(
        self,
        space: Space,
        *,
        visual: Share = 0.1,
        textual: Share = 0.7,
        anchors: Annotated[int, Field(gt=0, description="entities from which the plan is computed")] = 10,
        blur: Annotated[float, Field(gt=0, description="weight of the entropy, of costs up to 1")] = 0.1,
        iterations: Annotated[int, Field(gt=0, description="Sinkhorn iterations at most")] = 1000,
    ) -> None:
        super().__init__(space)
        self.shares = {m: share for m, share in (("visual", visual), ("textual", textual)) if m in space.modalities}
        self.use(*self.shares or ("visual or textual",))
        if sum(self.shares.values()) > 1:
            raise ValueError("fusion 'otkge' gives more than all of a vector to features; lower visual or textual")
        self.unprojected = frozenset(self.shares)
        self.anchors, self.blur, self.iterations = anchors, blur, iterations
        widths = {m: space.raw_widths[m] for m in self.shares}
        self.maps = nn.ParameterDict({m: nn.Parameter(random_vectors(d, space.width)) for m, d in widths.items()})
        for m, d in widths.items():
            self.register_buffer(f"plan_{m}", torch.full((d, space.width), 1 / d))

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        joint = (1 - sum(self.shares.values())) * modal[STRUCTURE]
        for m, share in self.shares.items():
            present = modal.present[m].unsqueeze(-1)
            joint = joint + share * present * (modal[m] @ (self.get_buffer(f"plan_{m}") + self.maps[m]))
        return {"joint": joint}

    @torch.no_grad()
    def begin_epoch(self, epoch: int, epochs: int, entities: EntityEncoder) -> None:
        for m in self.shares:
            plan = self.get_buffer(f"plan_{m}")
            few = entities.encode(torch.arange(min(self.anchors, len(entities)), device=plan.device))
            there = few.present[m]
            pairs = zip(few[m][there], few[STRUCTURE][there], strict=True)
            plans = [transport(feature, vector, self.blur, self.iterations) for feature, vector in pairs]
            if plans:
                plan.copy_(plan.shape[1] * torch.stack(plans).mean(0))


def transport(source: Tensor, target: Tensor, blur: float, iterations: int) -> Tensor:
    """Entropic plan ``[m, n]`` between the coordinates of ``source[m]`` and ``target[n]``, with uniform marginals."""
    cost = (source.unsqueeze(1) - target.unsqueeze(0)).square()
    kernel = (-cost / cost.max().clamp(min=1e-12) / blur).exp()
    m, n = cost.shape
    right = cost.new_ones(n)
    for _ in range(iterations):
        left = 1 / (m * (kernel @ right))
        of_columns = kernel.T @ left
        if ((n * right * of_columns - 1).abs() < TOLERANCE).all():
            break
        right = 1 / (n * of_columns)
    return left.unsqueeze(1) * kernel * right
