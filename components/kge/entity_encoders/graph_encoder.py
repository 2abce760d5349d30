"""Base class of graph encoders, whose embeddings depend on the train triples of an entity."""

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import EntityData, EntityEncoder, ModalityEmbeddings
from mmkgc.components.kge.entity_encoders.edges import both_ways, remaining
from mmkgc.components.kge.entity_encoders.table import Table
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.interactions.base import Interaction


class GraphEncoder(EntityEncoder):
    """The embeddings of ``Table``, changed by messages along train triples; a kind overrides ``passed``.

    The triples of the training batch pass no message, because the model has to predict them: an embedding that contains
    the answer would score well in training and badly afterwards. New entities have no triples and get no message. Each
    triple passes messages once, however often it occurs; the triples are not part of a saved model.
    """

    def __init__(self, data: EntityData) -> None:
        super().__init__()
        self.table, self.n_relations = Table(data), data.n_relations
        self.triples: Tensor
        self.register_buffer("triples", torch.unique(data.triples, dim=0), persistent=False)

    @abstractmethod
    def passed(self, everyone: ModalityEmbeddings, triples: Tensor, ids: Tensor | None) -> ModalityEmbeddings:
        """``everyone``, all N entities, after the messages along ``triples[T', 3]``.

        Only the rows ``ids`` (None: all) are used, so only edges into them need messages (``edges``). A message that
        reaches ``ids`` must not depend on which other entities are asked for.
        """

    def edges(self, triples: Tensor, ids: Tensor | None) -> Tensor:
        """Edges ``[3, E]`` (source, relation, target) of ``triples`` in both directions that lead to ``ids``.

        The relation of an inverse edge is r + R. Count degrees in ``triples``, since edges to other entities are left
        out here.
        """
        return both_ways(triples, ids, len(self), self.n_relations)

    @classmethod
    def incompatibility(cls, structure: bool, interaction: Interaction | None = None) -> str | None:
        """By default, messages are structural vectors."""
        return None if structure else "its messages are structural vectors; set model.structure: true"

    def __len__(self) -> int:
        return len(self.table)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.table.modalities

    def encode(self, ids: Tensor | None = None, without: Tensor | None = None) -> ModalityEmbeddings:
        triples = remaining(self.triples, without, len(self), self.n_relations)
        whole = self.passed(self.table.encode(), triples, ids)
        return whole if ids is None else whole.rows(ids)

    def encode_new(self, features: Mapping[str, Tensor]) -> ModalityEmbeddings:
        return self.table.encode_new(features)

    def raw(self, modality: str) -> Features:
        return self.table.raw(modality)

    def structural_table(self) -> Tensor | None:
        return self.table.structural_table()
