"""EfficientNet-Lite0 against a slow reference in float64 NumPy, with the packaged weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmkgc.components.dataset.countries import draw
from mmkgc.components.dataset.countries.build import FLAGS
from mmkgc.components.encoders.efficientnet_lite0 import (
    SHA256,
    STAGES,
    Convolution,
    EfficientNetLite0Config,
    Network,
    Preparation,
    packaged,
)
from mmkgc.components.encoders.registry import create, recreate
from mmkgc.components.encoders.weights import of_state
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError

State = dict[str, np.ndarray]
NORDIC = ("denmark", "finland", "iceland", "norway", "sweden")
OTHERS = ("chad", "france", "guinea", "ireland", "italy", "japan", "kuwait", "mali", "nigeria", "peru")


@pytest.fixture(scope="module")
def state() -> State:
    tensors = torch.load(packaged(), weights_only=True, map_location="cpu")
    return {name: tensor.double().numpy() for name, tensor in tensors.items()}


def convolve(image: np.ndarray, kernel: np.ndarray, stride: int, depthwise: bool = False) -> np.ndarray:
    """``[C, H, W]`` → ``[D, ⌈H / stride⌉, ⌈W / stride⌉]``: output i sees inputs from i · stride − ⌊missing / 2⌋ on."""
    size, side = kernel.shape[-1], image.shape[-1]
    out_side = -(-side // stride)
    missing = max((out_side - 1) * stride + size - side, 0)
    padded = np.pad(image, ((0, 0), *[(missing // 2, missing - missing // 2)] * 2))
    out = np.zeros((len(kernel), out_side, out_side))
    for row in range(size):
        for column in range(size):
            window = padded[:, row : row + stride * out_side : stride, column : column + stride * out_side : stride]
            window = window[:, :out_side, :out_side]
            weights = kernel[:, :, row, column]
            out += weights[:, :, None] * window if depthwise else np.tensordot(weights, window, axes=1)
    return out


def normalise(image: np.ndarray, state: State, name: str) -> np.ndarray:
    weight, bias, mean, variance = (
        state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (image - mean) / np.sqrt(variance + 1e-3) * weight + bias


def reference(image: np.ndarray, state: State) -> np.ndarray:
    """The last feature map of one image ``[3, side, side]``, straight from the definition."""

    def layer(image: np.ndarray, convolution: str, norm: str, stride: int = 1, depthwise: bool = False) -> np.ndarray:
        return normalise(convolve(image, state[f"{convolution}.weight"], stride, depthwise), state, norm)

    image, index = np.clip(layer(image, "_conv_stem", "_bn0", 2), 0, 6), 0
    for count, _, first_stride, expansion, _ in STAGES:
        for place in range(count):
            block, stride = f"_blocks.{index}", 1 if place else first_stride
            wide = image
            if expansion > 1:
                wide = np.clip(layer(wide, f"{block}._expand_conv", f"{block}._bn0"), 0, 6)
            wide = np.clip(layer(wide, f"{block}._depthwise_conv", f"{block}._bn1", stride, True), 0, 6)
            narrow = layer(wide, f"{block}._project_conv", f"{block}._bn2")
            image = image + narrow if image.shape == narrow.shape else narrow
            index += 1
    return np.clip(layer(image, "_conv_head", "_bn1"), 0, 6)


@pytest.mark.parametrize("side", [64, 75])
def test_the_network_agrees_with_float64_numpy(side: int, state: State) -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (3, side, side))
    network = create(EfficientNetLite0Config()).network
    given = torch.from_numpy(image).float()[None]
    expected = reference(image, state)
    np.testing.assert_allclose(network.features(given)[0], expected, atol=1e-4)
    np.testing.assert_allclose(network(given)[0], expected.mean((1, 2)), atol=1e-4)


@pytest.mark.parametrize(("side", "kernel", "stride"), [(224, 3, 2), (7, 5, 1), (15, 5, 2), (8, 1, 1)])
def test_a_convolution_pads_as_tensorflow_does(side: int, kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    convolution = Convolution(2, 3, kernel, stride, bias=False).requires_grad_(False)
    image = torch.randn(2, side, side)
    expected = convolve(image.double().numpy(), convolution.weight.double().numpy(), stride)
    np.testing.assert_allclose(convolution(image[None])[0], expected, atol=1e-5)


def test_preparation_maps_bytes_to_about_minus_one_to_one() -> None:
    prepared = Preparation()(Image.new("RGB", (300, 200), (127, 255, 0)))
    assert prepared.shape == (3, 224, 224)
    np.testing.assert_allclose(prepared.mean((1, 2)), [0, 1, -127 / 128], atol=1e-6)


def test_packaged_weights_are_known_by_their_digest_and_name() -> None:
    encoder = create(EfficientNetLite0Config())
    assert digests.of_file(packaged()) == encoder.spec.sha256 == SHA256
    assert (encoder.spec.weights, encoder.spec.seed, encoder.dimension) == ("EfficientNet-Lite0", None, 1280)
    image = Image.linear_gradient("L").convert("RGB")
    vectors = encoder.encode([image, image.rotate(90)])
    assert (vectors.shape, vectors.dtype) == ((2, 1280), np.float32)
    np.testing.assert_array_equal(recreate(encoder.spec.model_dump()).encode([image, image.rotate(90)]), vectors)


def test_another_file_under_the_packaged_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "efficientnet-lite0-57934424.pth"
    changed.write_bytes(packaged().read_bytes()[:-1] + b"x")
    monkeypatch.setattr("mmkgc.components.encoders.efficientnet_lite0.packaged", lambda: changed)
    with pytest.raises(
        UserError, match=r"its SHA-256 begins with [0-9a-f]{8}, that of the released file with 57934424"
    ):
        _ = create(EfficientNetLite0Config()).spec


def test_tokens_are_the_cells_whose_mean_is_the_pooled_vector() -> None:
    image = Image.linear_gradient("L").convert("RGB")
    encoder = create(EfficientNetLite0Config(output="tokens"))
    (sequence,) = encoder.sequences(encoder.prepare([image]))
    assert sequence.shape == (49, encoder.dimension) == (49, 1280)
    np.testing.assert_allclose(sequence.mean(0), create(EfficientNetLite0Config()).encode([image])[0], atol=1e-5)


def test_random_weights_are_seeded_finite_and_called_random() -> None:
    encoder = create(EfficientNetLite0Config(weights="random", seed=3))
    assert (encoder.spec.weights, encoder.spec.seed) == ("random", 3)
    assert encoder.spec.sha256 == of_state(encoder.network.state_dict())
    assert isinstance(encoder.network, Network)
    assert np.isfinite(encoder.encode([Image.linear_gradient("L").convert("RGB")])).all()
    assert create(EfficientNetLite0Config(weights="random", seed=4)).spec.sha256 != encoder.spec.sha256


def test_it_sees_what_a_flag_shows() -> None:
    """Nordic crosses are alike and unlike tricolours; an untrained network finds all flags alike (cosine)."""
    assert _likeness("EfficientNet-Lite0") > 0.2
    assert abs(_likeness("random")) < 0.05


def _likeness(weights: str) -> float:
    """Mean similarity of two crosses, less that of a cross and another flag."""
    flags = draw.read(FLAGS)
    pictures = [flags[key].paint(240, round(240 * flags[key].ratio)) for key in NORDIC + OTHERS]
    vectors = create(EfficientNetLite0Config(weights=weights)).encode(pictures)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    crosses = vectors[: len(NORDIC)]
    pairs = ~np.eye(len(NORDIC), dtype=bool)
    return float((crosses @ crosses.T)[pairs].mean() - (crosses @ vectors[len(NORDIC) :].T).mean())
