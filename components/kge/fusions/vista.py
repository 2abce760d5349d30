"""VISTA's entity encoder."""

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import random_vectors
from mmkgc.components.kge.transformers import Dropout, Heads, Layers, transformer


class VISTA(Fusion):
    """A transformer over an entity's modalities as tokens after a [CLS] token, whose output is the entity's vector.

    Lee et al. 2023, together with interaction ``vista``, their decoder. A token is the structural vector, or the
    projection of a feature, plus a learned vector of the modality; those that an entity lacks are masked. Differences:
    one image token of an entity's mean feature (the original has up to three), and no encoder of relations, since the
    data sets have neither images of relations nor, in the recipes, texts of them: a relation is its vector. Every
    entity that a step uses is encoded again; with a loss over all entities that is all N, as in the original.
    """

    def __init__(
        self,
        space: Space,
        *,
        layers: Layers = 2,
        heads: Heads = None,
        dropout: Dropout = 0.1,
        token_dropout: Dropout = 0.1,
    ) -> None:
        super().__init__(space)
        self.first = nn.Parameter(random_vectors(space.width))
        self.kinds = nn.ParameterDict({m: nn.Parameter(random_vectors(space.width)) for m in self.modalities})
        self.norm, self.dropout = nn.LayerNorm(space.width), nn.Dropout(token_dropout)
        self.encoder = transformer(space.width, heads, layers, dropout)

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        vectors = torch.broadcast_tensors(*(modal[m] for m in self.modalities))
        lead = vectors[0].shape[:-1]
        tokens = torch.stack([vector + self.kinds[m] for m, vector in zip(self.modalities, vectors, strict=True)], -2)
        lacking = torch.stack([~modal.present[m].expand(lead) for m in self.modalities], -1)
        lacking = lacking.view(-1, len(self.modalities))
        tokens = self.dropout(self.norm(tokens.view(-1, *tokens.shape[-2:])))
        tokens = torch.cat([self.first.expand(len(tokens), 1, -1), tokens], dim=1)
        mask = torch.cat([torch.zeros_like(lacking[:, :1]), lacking], dim=1)
        return {"joint": self.encoder(tokens, src_key_padding_mask=mask)[:, 0].view(*lead, -1)}
