"""Any vision transformer of the Hugging Face hub: CLS vector or mean of the patches."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from PIL import Image
from torch import Tensor, nn

from mmkgc.components.encoders.base import Encoder, EncoderConfig, ImageEncoderConfig
from mmkgc.components.encoders.weights import Weights, checkpoint, load_network
from mmkgc.components.runtime.files import read_json


class HFVisionConfig(ImageEncoderConfig):
    """A vision transformer by its hub name or local folder."""

    encoder: Literal["hfvision"] = "hfvision"
    pooling: Literal["cls", "mean"] = "cls"


class HFVision(Encoder):
    """Last hidden state of a vision transformer: position 0 is the CLS token, the rest are patches."""

    modality = "visual"
    Config: ClassVar[type[EncoderConfig]] = HFVisionConfig
    config: HFVisionConfig

    @cached_property
    def weights(self) -> Weights:
        """The checkpoint."""
        return checkpoint(self.config.weights, self.config.revision)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Settings of the checkpoint's image processor."""
        return read_json(self.weights.location / "preprocessor_config.json")

    @property
    def dimension(self) -> int:
        """Width of the hidden state."""
        return read_json(self.weights.location / "config.json")["hidden_size"]

    @cached_property
    def processor(self) -> Any:
        """The checkpoint's image processor, in its PIL form."""
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(self.weights.location, backend="pil")

    def prepare(self, items: Sequence[Image.Image]) -> list[Tensor]:
        """Tensors float32 ``[3, height, width]`` of RGB images."""
        return list(self.processor(list(items), return_tensors="pt")["pixel_values"])

    def build(self) -> nn.Module:
        """The checkpoint's network."""
        return load_network(self.weights.location)

    def pooled(self, batch: Sequence[Tensor]) -> Tensor:
        """CLS vector, or mean of the patches, ``[B, d]``."""
        hidden = self._hidden(batch)
        return hidden[:, 0] if self.config.pooling == "cls" else hidden[:, 1:].mean(1)

    def tokens(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Patches without the CLS token, row by row."""
        return list(self._hidden(batch)[:, 1:])

    def _hidden(self, batch: Sequence[Tensor]) -> Tensor:
        return self.network(pixel_values=torch.stack(list(batch)).to(self.device)).last_hidden_state
