"""Modality embeddings of entities that the graph does not hold, from their texts and images."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import torch
from PIL import Image

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.protocol import ErrorCode, QueryError, Unseen

MAX_PIXELS = 25_000_000


class UnseenEntities:
    """Encodes descriptions with the encoders that made the model's features; each is loaded on first use."""

    def __init__(self, bundle: Bundle) -> None:
        self.table, self.specs = bundle.model.entities, bundle.encoders
        self.modalities = tuple(m for m in self.table.modalities if m in self.specs)
        self._encoders: dict[str, Any] = {}

    def read(self, unseen: Unseen) -> dict[str, Any]:
        """Text and decoded image by modality; raises ``QueryError`` if the image or the modality is no good."""
        items = {
            "textual": unseen.text,
            "visual": None if unseen.image is None else decode(unseen.image),
        }
        given = {modality: item for modality, item in items.items() if item is not None}
        for modality in given:
            if modality not in self.modalities:
                known = f"only {', '.join(self.modalities)}" if self.modalities else "no encoder at all"
                raise QueryError(ErrorCode.NO_MODALITY, f"the model has no {modality} encoder; it has {known}")
            self._encoder(modality)
        return given

    def modal(self, entities: Sequence[dict[str, Any]]) -> ModalityEmbeddings:
        """Modality vectors of entities that ``read`` read, all with the same modalities."""
        features = {
            modality: torch.from_numpy(self._encoder(modality).encode([entity[modality] for entity in entities]))
            for modality in entities[0]
        }
        return self.table.encode_new(features)

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


def decode(data: bytes) -> Image.Image:
    """An image from its bytes; raises ``QueryError`` if it does not decode or is larger than 25 megapixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP", "GIF"))
            if image.width * image.height > MAX_PIXELS:
                raise QueryError(ErrorCode.BAD_IMAGE, f"the image has more than {MAX_PIXELS // 1_000_000} megapixels")
            return image.convert("RGB")
    except QueryError:
        raise
    except Exception as error:  # Pillow raises whatever the damaged bytes lead to
        raise QueryError(ErrorCode.BAD_IMAGE, "the image does not decode; send PNG, JPEG, WebP or GIF") from error
