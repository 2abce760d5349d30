"""VGG-16, the image encoder of IKRL, MANS and AdaMF: the 4096 values of fc7.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015), configuration D.
State-dict keys are torchvision's, so that the official ``vgg16-397923af.pth`` loads; torchvision itself is not needed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mmkgc.components.encoders.base import Encoder, ImageEncoderConfig
from mmkgc.components.encoders.weights import RANDOM, Weights, file_weights, random_weights, seeded
from mmkgc.components.runtime.errors import UserError

CHANNELS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


class VGG16Config(ImageEncoderConfig):
    """VGG-16 with official ImageNet weights from a local ``.pth`` file, or random ones."""

    encoder: Literal["vgg16"] = "vgg16"
    weights: str = RANDOM


@dataclass(frozen=True)
class ImageNetPreparation:
    """ImageNet's evaluation view: shorter side to 256 (bilinear), centre 224 × 224, channels standardised."""

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
        return image.resize(size, Image.Resampling.BILINEAR)

    def _centre(self, image: Image.Image) -> Image.Image:
        left, top = (round((side - self.crop) / 2) for side in image.size)
        return image.crop((left, top, left + self.crop, top + self.crop))


class Network(nn.Module):
    """Thirteen convolutions and three linear layers, in torchvision's order and with its names."""

    def __init__(self) -> None:
        super().__init__()
        self.features = _convolutions()
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(),
            nn.Linear(4096, 1000),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, 224, 224]`` → fc7 after its ReLU ``[B, 4096]``."""
        return self.classifier[:5](self.features(images).flatten(1))


def _convolutions() -> nn.Sequential:
    layers: list[nn.Module] = []
    width = 3
    for channels in CHANNELS:
        if isinstance(channels, int):
            layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU(inplace=True)]
            width = channels
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class VGG16(Encoder):
    """fc7 of VGG-16, ``d = 4096``; its tokens are the 7 × 7 cells of the last feature map, ``d = 512``."""

    modality = "visual"
    Config = VGG16Config
    preparation = ImageNetPreparation()

    @cached_property
    def weights(self) -> Weights:
        """Official weights of a local file, or random ones."""
        if self.config.weights == RANDOM:
            return random_weights(self._random, encoder="vgg16", seed=self.config.seed)
        return file_weights(self.config.weights)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """ImageNet's evaluation view."""
        return asdict(self.preparation)

    @property
    def dimension(self) -> int:
        """4096, or 512 for tokens."""
        return 512 if self.config.output == "tokens" else 4096

    def prepare(self, items: Sequence[Image.Image]) -> list[Tensor]:
        """ImageNet's evaluation view of each image, float32 ``[3, 224, 224]``."""
        return [self.preparation(image) for image in items]

    def build(self) -> nn.Module:
        """The network, kept channels-last: a quarter faster on a CPU."""
        network: nn.Module = self._random() if self.weights.random else self._official()
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pooled(self, batch: Sequence[Tensor]) -> Tensor:
        """fc7 ``[B, 4096]``."""
        return self.network(self._stack(batch))

    def tokens(self, batch: Sequence[Tensor]) -> list[Tensor]:
        """Cells of the last feature map, row by row: ``B`` times ``[49, 512]``."""
        cells = self.network.features(self._stack(batch))  # type: ignore[operator]
        return list(cells.flatten(2).transpose(1, 2))

    def _stack(self, batch: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(batch)).to(self.device, memory_format=torch.channels_last)

    def _official(self) -> Network:
        with torch.device("meta"):
            network = Network()
        try:
            state = torch.load(self.weights.location, map_location="cpu", weights_only=True, mmap=True)
            network.load_state_dict(state, assign=True)
        except Exception as error:
            raise UserError(self.weights.path, f"these are not VGG-16's weights ({_first_line(error)})",
                            "download torchvision's vgg16-397923af.pth") from error  # fmt: skip
        return network

    def _random(self) -> Network:
        """He-normal convolutions and N(0, 0.01²) linear layers, as VGG is initialised before training."""
        with torch.device("meta"):
            network = Network()
        return seeded(self.config.seed, lambda: _initialise(network.to_empty(device="cpu")))


def _initialise(network: Network) -> Network:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, 0.01)
        if isinstance(layer, nn.Conv2d | nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return network


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().splitlines()[0]
