"""Mean of the modalities."""

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Term
from mmkgc.components.kge.tensors import total


class Mean(Fusion):
    """One term over the mean of the modality vectors that are present: AdaMF's ablation "mean" (its Table 3)."""

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        shares = self.modality_weights(modal)
        return {"joint": total(shares[m].unsqueeze(-1) * modal[m] for m in modal.vectors)}

    def modality_weights(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor]:
        present = torch.stack([modal.present[m] for m in modal.vectors], dim=-1).to(next(iter(modal.vectors.values())))
        weights = present / present.sum(-1, keepdim=True).clamp(min=1)
        return dict(zip(modal.vectors, weights.unbind(-1), strict=True))
