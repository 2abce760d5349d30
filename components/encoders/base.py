"""Base class of encoders: preparation of items on the CPU, vectors on the device, and an identity."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mmkgc.components.encoders.images import MAX_PIXELS
from mmkgc.components.encoders.weights import Weights
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.names import Seed


class EncoderConfig(BaseModel):
    """Configuration shared by all encoders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str
    weights: str = Field(description="hub name, local file or folder, or 'random'")
    revision: str | None = Field(default=None, description="branch, tag or commit of a hub name")
    seed: Seed = Field(default=0, description="of random weights; others ignore it")
    output: Literal["pooled", "tokens"] = Field(default="pooled", description="one vector an item, or a sequence")
    precision: Literal["auto", "float32", "bfloat16"] = Field(default="auto", description="auto: bfloat16 on a GPU")


class ImageEncoderConfig(EncoderConfig):
    """Configuration shared by all image encoders."""

    max_pixels: int = Field(default=MAX_PIXELS, ge=1, description="larger images are refused; at most the default")


class EncoderSpec(BaseModel):
    """Identity of an encoder: equal specs give equal vectors. ``weights`` is ``random`` for random weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    encoder: str
    weights: str
    revision: str | None
    seed: int | None
    sha256: str
    preprocessing: str
    dimension: int
    normalised: bool
    output: str
    precision: str
    options: dict[str, Any]


class Encoder(ABC):
    """Turns items into vectors. The network is built on first use, so reading the identity is cheap."""

    modality: ClassVar[str]
    Config: ClassVar[type[EncoderConfig]]
    released: ClassVar[str] = ""
    """File or hub name of pretrained weights that are not packaged; empty if they are, or if any name will do."""

    def __init__(self, config: EncoderConfig) -> None:
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The weights: source and digest; ``weights.formula`` if there are none."""

    @abstractmethod
    def prepare(self, items: Sequence[Any]) -> list[Any]:
        """Prepare items on the CPU: resize images, tokenise texts. May run in worker processes."""

    @property
    @abstractmethod
    def preprocessing(self) -> dict[str, Any]:
        """Settings of the preparation, as JSON."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Width d of the vectors."""

    @property
    def normalised(self) -> bool:
        """Whether vectors have length 1."""
        return False

    @abstractmethod
    def build(self) -> nn.Module:
        """The network with its weights, on the CPU."""

    @abstractmethod
    def pooled(self, batch: Sequence[Any]) -> Tensor:
        """Vectors ``[B, d]`` of prepared items."""

    @abstractmethod
    def tokens(self, batch: Sequence[Any]) -> list[Tensor]:
        """Sequences ``[n, d]`` of prepared items: patches of an image, words of a text."""

    def fit(self, items: Sequence[Any]) -> "Encoder":
        """Fit the encoder to ``items``, those of the training entities; pretrained networks return themselves.

        Fitted values are part of the configuration and thus of the identity.
        """
        return self

    def refusal(self, item: Any) -> str:
        """Why this encoder cannot encode an item of a new entity; empty if it can."""
        return ""

    def remark(self, prepared: Any) -> str:
        """Remark for the user about a prepared item, such as that a text was cut; usually empty."""
        return ""

    @cached_property
    def network(self) -> nn.Module:
        """The network, ready on the device."""
        return self.build().eval().requires_grad_(False).to(self.device)

    @property
    def precision(self) -> str:
        """The arithmetic precision in use: ``float32`` or ``bfloat16``."""
        if self.config.precision != "auto":
            return self.config.precision
        return "bfloat16" if self.device.type == "cuda" else "float32"

    @property
    def options(self) -> dict[str, Any]:
        """Values of the configuration keys that only this encoder has, as JSON."""
        return self.config.model_dump(mode="json", exclude=set(EncoderConfig.model_fields))

    @cached_property
    def spec(self) -> EncoderSpec:
        """Identity of this encoder; the network is not built if its digest is cached."""
        return EncoderSpec(
            encoder=self.config.encoder,
            weights=self.weights.label,
            revision=self.weights.revision,
            seed=self.config.seed if self.weights.random else None,
            sha256=self.weights.sha256,
            preprocessing=digests.of_json(self.preprocessing),
            dimension=self.dimension,
            normalised=self.normalised,
            output=self.config.output,
            precision=self.precision,
            options=self.options,
        )

    def encode(self, items: Sequence[Any]) -> np.ndarray:
        """Vectors float32 ``[B, d]`` of items."""
        return self.vectors(self.prepare(items))

    def vectors(self, batch: Sequence[Any]) -> np.ndarray:
        """Vectors float32 ``[B, d]`` of prepared items."""
        with torch.inference_mode(), self._autocast():
            return self.pooled(batch).float().cpu().numpy()

    def sequences(self, batch: Sequence[Any]) -> list[np.ndarray]:
        """Token sequences float32 ``[n, d]`` of prepared items."""
        with torch.inference_mode(), self._autocast():
            return [sequence.float().cpu().numpy() for sequence in self.tokens(batch)]

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")
