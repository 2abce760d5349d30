"""Link-aware attention."""

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.adamf import ABSENT
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.tensors import random_vectors, total


class LinkAware(Fusion):
    """One term over a sum of the modality vectors weighted by the relation: α_m = softmax_m(q_r · tanh(e_m)).

    After the link-aware fusion of LAFA (Shang et al. 2024), re-implemented from its description: the exact formula was
    not available, and its aggregation over neighbours is left out.
    """

    relational = True

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.queries = nn.Parameter(random_vectors(space.n_relations, space.width))

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        shares = self.modality_weights(modal, relations)
        return {"joint": total(shares[m].unsqueeze(-1) * modal[m] for m in self.modalities)}

    def modality_weights(self, modal: ModalityEmbeddings, relations: Tensor | None = None) -> dict[str, Tensor]:
        assert relations is not None
        query = take(self.queries, relations)
        logits = [torch.einsum("...d,...d->...", modal[m].tanh(), query) for m in self.modalities]
        present = [modal.present[m].expand(logits[0].shape) for m in self.modalities]
        weights = torch.stack(logits, dim=-1).masked_fill(~torch.stack(present, dim=-1), ABSENT).softmax(-1)
        return dict(zip(self.modalities, weights.unbind(-1), strict=True))
