"""VISTA's decoder."""

import torch
from torch import Tensor, nn

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.tensors import random_vectors
from mmkgc.components.kge.transformers import Dropout, Heads, Layers, transformer


class VISTA(QueryInteraction):
    """decoder([h, r, MASK])₃ · t: a transformer predicts the tail's vector from head and relation.

    Lee et al. 2023, together with fusion ``vista``, their encoder of entities. The relation is normalised to the length
    of an encoded entity, as the original's encoder of relations does in the end: as a vector of a tenth of that length,
    it would hardly count beside the known entity. A learned vector is added at each position. The original also
    masks heads; here (?, r, t) is (t, r⁻¹, ?), so that relations must be reciprocal, and head queries have their own
    relation vectors. The original's loss is ``cross-entropy``.
    """

    def __init__(
        self,
        dimension: int,
        *,
        layers: Layers = 2,
        heads: Heads = None,
        dropout: Dropout = 0.1,
        init: Init = 0.1,
    ) -> None:
        super().__init__(dimension, init)
        self.geometry = Dot()
        self.places = nn.Parameter(random_vectors(3, dimension))
        self.mask = nn.Parameter(random_vectors(dimension))
        self.norm = nn.LayerNorm(dimension)
        self.decoder = transformer(dimension, heads, layers, dropout)

    def incompatibility(self, reciprocal: bool) -> str | None:
        return None if reciprocal else "it asks for tails alone; set model.reciprocal: true"

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        known, relation = torch.broadcast_tensors(known, relation)
        tokens = torch.stack([known, self.norm(relation), self.mask.expand_as(known)], dim=-2) + self.places
        return self.decoder(tokens.view(-1, *tokens.shape[-2:]))[:, 2].view(known.shape)
