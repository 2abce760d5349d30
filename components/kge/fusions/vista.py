"""VISTA's entity encoder."""

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import random_vectors
from mmkgc.components.kge.transformers import Dropout, Heads, Layers, transformer


class VISTA(Fusion):
    """A transformer over an entity's modalities as tokens after a [CLS] token, whose output is the entity's vector.

    Lee et al. 2023, together with interaction ``vista``, their decoder. A token is the structural vector or the
    projection of a feature, normalised for itself as in the released code, plus a learned vector of the modality: if
    the sum were normalised, that vector, the longer one, would be most of every entity's token. Tokens that an entity
    lacks are masked. Differences: one image token of an entity's mean feature (the original has up to three), and no
    encoder of relations, since the data sets have neither images of relations nor, in the recipes, texts of them: a
    relation is its vector, normalised by the decoder. Every entity that a step uses is encoded again; with a loss over
    all entities that is all N, as in the original. ``token_dropout`` is that of structural vectors,
    ``feature_dropout`` that of features.
    """

    def __init__(
        self,
        space: Space,
        *,
        layers: Layers = 2,
        heads: Heads = None,
        dropout: Dropout = 0.1,
        token_dropout: Dropout = 0.1,
        feature_dropout: Dropout = 0.1,
    ) -> None:
        super().__init__(space)
        self.first = nn.Parameter(random_vectors(space.width))
        self.kinds = nn.ParameterDict({m: nn.Parameter(random_vectors(space.width)) for m in self.modalities})
        self.norms = nn.ModuleDict({m: nn.LayerNorm(space.width) for m in self.modalities})
        self.dropouts = {m: token_dropout if m == STRUCTURE else feature_dropout for m in self.modalities}
        self.encoder = transformer(space.width, heads, layers, dropout)

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        vectors = torch.broadcast_tensors(*(modal[m] for m in self.modalities))
        lead = vectors[0].shape[:-1]
        tokens = torch.stack([self._token(m, v) for m, v in zip(self.modalities, vectors, strict=True)], dim=-2)
        lacking = torch.stack([~modal.present[m].expand(lead) for m in self.modalities], -1)
        lacking = lacking.view(-1, len(self.modalities))
        tokens = tokens.view(-1, *tokens.shape[-2:])
        tokens = torch.cat([self.first.expand(len(tokens), 1, -1), tokens], dim=1)
        mask = torch.cat([torch.zeros_like(lacking[:, :1]), lacking], dim=1)
        return {"joint": self.encoder(tokens, src_key_padding_mask=mask)[:, 0].view(*lead, -1)}

    def _token(self, modality: str, vectors: Tensor) -> Tensor:
        """The tokens ``[..., d]`` of one modality."""
        return dropout(self.norms[modality](vectors), self.dropouts[modality], self.training) + self.kinds[modality]
