"""LAFA's aggregation over neighbours."""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.base import EntityData, ModalityEmbeddings
from mmkgc.components.kge.entity_encoders.edges import softmax_of
from mmkgc.components.kge.entity_encoders.graph_encoder import GraphEncoder
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.kernels.rows import share, take
from mmkgc.components.kge.tensors import random_vectors


class LAFA(GraphEncoder):
    """Aggregates each modality's vectors over neighbours in the train graph, weighted by entity and link.

    A **re-implementation** of the link-aware aggregation of LAFA (Shang et al. 2024) from its description; the exact
    formula was not available: e'_mi = e_mi + dropout(W_m Σ_{(j, r) → i} α_mijr e_mj), α = softmax over i's edges of
    (e_mi ∘ q_mr) · e_mj / √e, with a vector q for each modality, relation and direction. Neighbours that lack the
    modality are left out. One layer; everything else is as in ``table``. With fusion ``link-aware`` it is LAFA. Triples
    of the training batch pass no message, since the model predicts them. New entities have no edges.
    """

    def __init__(
        self,
        data: EntityData,
        *,
        dropout: Annotated[float, Field(ge=0, lt=1, description="share of message coordinates dropped")] = 0.1,
    ) -> None:
        super().__init__(data)
        gathered = [m for m in self.table.modalities if m not in data.unprojected]
        rows, e = 2 * data.n_relations, data.width
        self.links = nn.ParameterDict({m: nn.Parameter(e**0.5 * random_vectors(rows, e)) for m in gathered})
        self.messages = nn.ModuleDict({m: nn.Linear(e, e, bias=False) for m in gathered})
        self.dropout = nn.Dropout(dropout)

    @classmethod
    def incompatibility(cls, structure: bool, interaction: Interaction | None = None) -> str | None:
        return None

    def passed(self, everyone: ModalityEmbeddings, triples: Tensor, ids: Tensor | None) -> ModalityEmbeddings:
        edges = self.edges(triples, ids)
        changed = {
            m: self._gathered(m, share(everyone[m]), edges[:, everyone.present[m][edges[0]]]) for m in self.links
        }
        return replace(everyone, vectors=everyone.vectors | changed)

    def _gathered(self, modality: str, vectors: Tensor, edges: Tensor) -> Tensor:
        """``vectors[N, e]`` with the messages of their neighbours; ``edges[3, E]``: sources, links and targets."""
        source, link, target = edges
        theirs = take(vectors, source)
        asked = take(vectors, target) * take(self.links[modality], link)
        logit = torch.einsum("ed,ed->e", asked, theirs) / vectors.shape[1] ** 0.5
        weighed = softmax_of(logit, target, len(vectors)).unsqueeze(1) * theirs
        mean = weighed.new_zeros(vectors.shape).index_add(0, target, weighed)
        return vectors + self.dropout(self.messages[modality](mean))
