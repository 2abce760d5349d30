"""Modality embeddings of entities that the graph does not hold, from their texts and images."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from mmkgc.components.encoders.images import MAX_PIXELS, Unusable, decode
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.protocol import ErrorCode, QueryError, Unseen


class UnseenEntities:
    """Encodes descriptions with the encoders that made the model's features; each is loaded on first use."""

    def __init__(self, bundle: Bundle) -> None:
        self.table, self.specs = bundle.model.entities, bundle.encoders
        self.modalities = tuple(m for m in self.table.modalities if m in self.specs)
        self._encoders: dict[str, Any] = {}

    def read(self, unseen: Unseen) -> dict[str, Any]:
        """Text and image by modality, prepared for the encoder: a picture is kept at the encoder's size only.

        Raises ``QueryError`` if the image or the modality is no good.
        """
        items = {
            "textual": unseen.text,
            "visual": None if unseen.image is None else self._picture(unseen.image),
        }
        given = {modality: item for modality, item in items.items() if item is not None}
        for modality in given:
            if modality not in self.modalities:
                known = f"only {', '.join(self.modalities)}" if self.modalities else "no encoder at all"
                raise QueryError(ErrorCode.NO_MODALITY, f"the model has no {modality} encoder; it has {known}")
        return {modality: self._encoder(modality).prepare([item])[0] for modality, item in given.items()}

    def modal(self, entities: Sequence[dict[str, Any]]) -> ModalityEmbeddings:
        """Modality vectors of entities that ``read`` read, all with the same modalities."""
        features = {
            modality: torch.from_numpy(self._encoder(modality).vectors([entity[modality] for entity in entities]))
            for modality in entities[0]
        }
        return self.table.encode_new(features)

    def _picture(self, data: bytes) -> Image.Image:
        """The image as extraction decodes an entity's, within the same limits; raises ``QueryError``."""
        options = self.specs.get("visual", {}).get("options", {})
        try:
            return decode(data, options.get("max_pixels", MAX_PIXELS))
        except Unusable as error:
            raise QueryError(ErrorCode.BAD_IMAGE, f"the image is not decoded: {error}") from error

    def _encoder(self, modality: str) -> Any:
        if modality not in self._encoders:
            self._encoders[modality] = load_encoder(self.specs[modality])
        return self._encoders[modality]


def load_encoder(spec: dict[str, Any]) -> Any:
    """The encoder of a stored identity; raises ``QueryError`` unless it is the same to the hash of its weights."""
    from mmkgc.components.encoders.registry import recreate

    try:
        return recreate(spec)
    except UserError as error:
        raise QueryError(ErrorCode.UNSUPPORTED, f"the model's encoder cannot be used: {error}") from error
