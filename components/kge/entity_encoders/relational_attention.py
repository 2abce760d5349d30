"""A graph encoder: relation-aware attention over an entity's neighbours."""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, EntityData, ModalityEmbeddings
from mmkgc.components.kge.entity_encoders.edges import softmax_of
from mmkgc.components.kge.entity_encoders.graph_encoder import GraphEncoder
from mmkgc.components.kge.kernels.rows import share, take
from mmkgc.components.kge.tensors import random_vectors


class RelationalAttention(GraphEncoder):
    """Aggregates structural vectors over neighbours in the train graph, weighted by entity and relation.

    e'_i = e_i + dropout(Σ_{(j, r) → i} α_ijr m_jr), m_jr = W (e_j ∘ ρ_r), α = softmax over i's edges of
    LeakyReLU(a·e_i + b·m_jr): graph attention (Veličković et al. 2018, eq. 1–4) with the composition of CompGCN
    (Vashishth et al. 2020, eq. 2 with a product). Every train triple is an edge in both directions, with a relation
    vector ρ for each. One layer; everything else is as in ``table``. Triples of the training batch pass no message,
    since the model predicts them. New entities have no edges.
    """

    def __init__(
        self,
        data: EntityData,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1, description="share of message coordinates dropped")] = 0.1,
        slope: Annotated[float, Field(gt=0, lt=1, description="slope of LeakyReLU below zero")] = 0.2,
    ) -> None:
        super().__init__(data)
        self.slope = slope
        self.relations = nn.Parameter(random_vectors(2 * data.n_relations, data.width))
        self.message = nn.Linear(data.width, data.width, bias=False)
        self.of_entity, self.of_message = (nn.Parameter(random_vectors(data.width)) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def passed(self, everyone: ModalityEmbeddings, triples: Tensor, ids: Tensor | None) -> ModalityEmbeddings:
        structure = share(everyone[STRUCTURE])
        gathered = structure + self.dropout(self._gather(structure, self.edges(triples, ids)))
        return replace(everyone, vectors=everyone.vectors | {STRUCTURE: gathered})

    def _gather(self, structure: Tensor, edges: Tensor) -> Tensor:
        """Σ α m ``[N, e]`` of the ``edges[3, E]`` that lead to each entity."""
        source, relation, target = edges
        message = self.message(take(structure, source) * take(self.relations, relation))
        logit = leaky_relu((structure @ self.of_entity)[target] + message @ self.of_message, self.slope)
        weighed = message * softmax_of(logit, target, len(self)).unsqueeze(1)
        return torch.zeros_like(structure).index_add(0, target, weighed)
