"""BEiT, the image encoder of MKG-W and MKG-Y's features.

Bao et al., "BEiT: BERT Pre-Training of Image Transformers" (2022); base size, 16 × 16 patches, ``d = 768``.
"""

from functools import cached_property
from typing import Any, Literal

from torch import nn

from mmkgc.components.encoders.hf_vision import HFVision, HFVisionConfig
from mmkgc.components.encoders.weights import RANDOM, Weights, random_weights, seeded

HUB_NAME = "microsoft/beit-base-patch16-224-pt22k-ft22k"


class BEiTConfig(HFVisionConfig):
    """BEiT by its hub name or local folder, or with random weights of the base architecture."""

    encoder: Literal["beit"] = "beit"  # type: ignore[assignment]
    weights: str = HUB_NAME


class BEiT(HFVision):
    """BEiT's last hidden state: CLS vector, or mean of the patches."""

    Config = BEiTConfig
    released = HUB_NAME

    @cached_property
    def weights(self) -> Weights:
        """The checkpoint, or random weights of the base size."""
        if self.config.weights == RANDOM:
            return random_weights(self._random, encoder="beit", seed=self.config.seed)
        return super().weights

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Settings of the image processor: 224 × 224 bicubic unless the checkpoint says otherwise."""
        return {"default": "BeitImageProcessorPil"} if self.weights.random else super().preprocessing

    @property
    def dimension(self) -> int:
        """Width of the hidden state, 768 for the base size."""
        return 768 if self.weights.random else super().dimension

    @cached_property
    def processor(self) -> Any:
        """The image processor."""
        from transformers import BeitImageProcessorPil

        return BeitImageProcessorPil() if self.weights.random else super().processor

    def build(self) -> nn.Module:
        """The network."""
        return self._random() if self.weights.random else super().build()

    def _random(self) -> nn.Module:
        from transformers import BeitConfig, BeitModel

        return seeded(self.config.seed, lambda: BeitModel(BeitConfig(), add_pooling_layer=False))
