"""Computes modality embeddings of new entities from their texts, images and other contents."""

from collections.abc import Sequence
from typing import Any

import torch

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.runtime.errors import Unusable, UserError
from mmkgc.serving.api.protocol import ErrorCode, QueryError, Unseen


class UnseenEntities:
    """Encodes new entities with the encoders of the model's features; each encoder is loaded on first use."""

    def __init__(self, bundle: Bundle) -> None:
        self.table, self.specs = bundle.model.entities, bundle.encoders
        self.modalities = tuple(m for m in self.table.modalities if m in self.specs)
        self._encoders: dict[str, Any] = {}

    def read(self, unseen: Unseen) -> dict[str, Any]:
        """Prepared encoder inputs by modality; a picture is kept only at the encoder's input size.

        Raises ``QueryError`` if a value is unusable or the model has no encoder for the modality.
        """
        items = {modality: self._item(modality, value) for modality, value in unseen.contents.items()}
        for modality in items:
            if modality not in self.modalities:
                known = f"only {', '.join(self.modalities)}" if self.modalities else "no encoder at all"
                raise QueryError(ErrorCode.NO_MODALITY, f"the model has no {modality} encoder; it has {known}")
        return {modality: self._prepared(modality, item) for modality, item in items.items()}

    def modal(self, entities: Sequence[dict[str, Any]]) -> ModalityEmbeddings:
        """Modality vectors of new entities, as returned by ``read``; all must have the same modalities."""
        features = {
            modality: torch.from_numpy(self._encoder(modality).vectors([entity[modality] for entity in entities]))
            for modality in entities[0]
        }
        return self.table.encode_new(features)

    def describing(self) -> list[dict[str, Any]]:
        """The input fields for a new entity's contents, as the JSON of ``Describing``."""
        kinds = {name: MODALITIES[name] for name in self.modalities if name in MODALITIES}
        return [
            {
                "modality": name,
                "field": kind.field,
                "noun": kind.noun,
                "widget": kind.widget,
                "names": kind.names(self.specs[name]),
            }
            for name, kind in kinds.items()
        ]

    def _item(self, modality: str, value: Any) -> Any:
        """Parse a value within the limits of extraction; raises ``QueryError`` if it is unusable."""
        options = self.specs.get(modality, {}).get("options", {})
        try:
            return MODALITIES[modality].from_query(value, options)
        except Unusable as error:
            raise QueryError(ErrorCode(MODALITIES[modality].refusal), str(error)) from error

    def _prepared(self, modality: str, item: Any) -> Any:
        encoder = self._encoder(modality)
        if reason := encoder.refusal(item):
            raise QueryError(ErrorCode(MODALITIES[modality].refusal), reason)
        return encoder.prepare([item])[0]

    def _encoder(self, modality: str) -> Any:
        if modality not in self._encoders:
            self._encoders[modality] = load_encoder(self.specs[modality])
        return self._encoders[modality]


def load_encoder(spec: dict[str, Any]) -> Any:
    """Recreate the encoder of a stored specification; raises ``QueryError`` unless the hash of its weights matches."""
    from mmkgc.components.encoders.registry import recreate

    try:
        return recreate(spec)
    except UserError as error:
        raise QueryError(ErrorCode.UNSUPPORTED, f"the model's encoder cannot be used: {error}") from error
