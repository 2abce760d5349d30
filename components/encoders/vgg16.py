"""VGG-16, the image encoder of IKRL, MANS and AdaMF: the 4096 values of fc7.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015), configuration D.
State-dict keys are torchvision's, so that the official ``vgg16-397923af.pth`` loads; torchvision itself is not needed.
"""

from typing import Literal

from pydantic import Field
from torch import Tensor, nn

from mmkgc.components.encoders.base import ImageEncoderConfig
from mmkgc.components.encoders.convolutional import Convolutional
from mmkgc.components.encoders.weights import RANDOM, find_local

RELEASED = "vgg16-397923af.pth"
CHANNELS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


class VGG16Config(ImageEncoderConfig):
    """VGG-16 with ImageNet weights from a local ``.pth`` file, or random ones.

    The default is torchvision's file where ``mmkgc weights add vgg16`` has stored it (or ``$MMKGC_WEIGHTS`` has it),
    else random weights. It is resolved when the recipe is read, so that a run states which weights it uses.
    """

    encoder: Literal["vgg16"] = "vgg16"
    weights: str = Field(default_factory=lambda: RELEASED if find_local(RELEASED) else RANDOM)


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


class VGG16(Convolutional):
    """fc7 of VGG-16, ``d = 4096``; its tokens are the 7 × 7 cells of the last feature map, ``d = 512``."""

    Config = VGG16Config
    Network = Network
    released = RELEASED
    widths = {"pooled": 4096, "tokens": 512}  # noqa: RUF012
