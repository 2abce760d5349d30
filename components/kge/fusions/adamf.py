"""AdaMF."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.kernels import attention
from mmkgc.components.kge.tensors import random_vectors, total

ABSENT = -1e4  # logit that gives weight 0, also in half precision; finite, to avoid NaN if all modalities are absent


class AdaMF(Fusion):
    """One term over an attention-weighted sum of the modality vectors, with separate weights for every entity.

    Zhang et al. 2024, eq. 3–4: α_m = softmax_m(w_m · tanh(e_m)), joint = Σ α_m e_m. The released code shares one w
    among the modalities (``shared``). Missing modalities get no weight. The released code does not scale features; here
    those of each modality have mean norm 1, unless the model's ``feature_scale`` is raw.
    """

    def __init__(
        self,
        space: Space,
        *,
        shared: Annotated[bool, Field(description="one attention vector for all modalities, as released")] = False,
    ) -> None:
        super().__init__(space)
        names = ["shared"] if shared else list(space.modalities)
        vectors = {name: random_vectors(space.width) for name in names}
        self.attention = nn.ParameterDict({name: nn.Parameter(vector) for name, vector in vectors.items()})
        self.shared = shared

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        vectors, weights = [modal[m] for m in self.modalities], torch.stack([self._weight(m) for m in self.modalities])
        if attention.usable(weights, vectors):
            present = torch.stack([modal.present[m] for m in self.modalities], dim=-1)
            return {"joint": attention.attend(weights, present, vectors, ABSENT)}
        shares = self.modality_weights(modal)
        return {"joint": total(shares[m].unsqueeze(-1) * modal[m] for m in self.modalities)}

    def modality_weights(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor]:
        logits = torch.stack([self._logit(modal, m) for m in self.modalities], dim=-1)
        return dict(zip(self.modalities, logits.softmax(-1).unbind(-1), strict=True))

    def _logit(self, modal: ModalityEmbeddings, modality: str) -> Tensor:
        return (modal[modality].tanh() @ self._weight(modality)).masked_fill(~modal.present[modality], ABSENT)

    def _weight(self, modality: str) -> Tensor:
        return self.attention["shared" if self.shared else modality]
