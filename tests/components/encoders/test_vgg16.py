import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mmkgc.components.encoders.convolutional import ImageNetPreparation
from mmkgc.components.encoders.registry import create, recreate
from mmkgc.components.encoders.vgg16 import CHANNELS, Network, VGG16Config
from mmkgc.components.encoders.weights import of_state
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError

# Names and shapes of torchvision's vgg16 state dict: features.N of 13 convolutions, classifier.{0,3,6}
TORCHVISION = {
    **{f"features.{n}.weight": (out, into, 3, 3) for n, into, out in zip(
        (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
        (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512),
        (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512), strict=True)},
    "classifier.0.weight": (4096, 25088), "classifier.3.weight": (4096, 4096), "classifier.6.weight": (1000, 4096),
}  # fmt: skip


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    return Network().eval().requires_grad_(False)


def conv3x3(image: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``[C, H, W]`` → ``[D, H, W]`` with a border of zeros, straight from the definition."""
    _, height, width = image.shape
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    out = np.broadcast_to(bias[:, None, None], (len(bias), height, width)).copy()
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += np.tensordot(kernel[:, :, row, column], window, axes=1)
    return out


def max_pool(image: np.ndarray) -> np.ndarray:
    channels, height, width = image.shape
    return image.reshape(channels, height // 2, 2, width // 2, 2).max(axis=(2, 4))


def test_state_dict_is_torchvisions(network: Network) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    biases = {name.replace("weight", "bias"): shape[:1] for name, shape in TORCHVISION.items()}
    assert shapes == TORCHVISION | biases


def test_convolutions_agree_with_float64_numpy(network: Network) -> None:
    image = np.random.default_rng(0).standard_normal((3, 64, 64))
    state = {name: tensor.double().numpy() for name, tensor in network.features.state_dict().items()}
    expected, index = image, 0
    for channels in CHANNELS:
        if channels == "pool":
            expected, index = max_pool(expected), index + 1
        else:
            expected = np.maximum(conv3x3(expected, state[f"{index}.weight"], state[f"{index}.bias"]), 0)
            index += 2
    found = network.features(torch.from_numpy(image).float()[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_fc7_agrees_with_float64_numpy(network: Network) -> None:
    cells = np.random.default_rng(1).random(512 * 7 * 7)
    expected = cells
    for layer in (0, 3):
        linear = network.classifier[layer]
        product = [float(row.double().numpy() @ expected) for row in linear.weight]
        expected = np.maximum(np.array(product) + linear.bias.double().numpy(), 0)
    found = network.classifier[:5](torch.from_numpy(cells).float()[None])[0]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(256, 256), (512, 256), (100, 300), (1, 50), (1000, 999)])
def test_preparation_is_imagenets(size: tuple[int, int]) -> None:
    prepared = ImageNetPreparation()(Image.new("RGB", size, (255, 0, 51)))
    assert prepared.shape == (3, 224, 224)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(prepared.mean((1, 2)), expected, atol=1e-5)


def test_preparation_takes_the_centre() -> None:
    image = Image.new("RGB", (512, 256), "black")
    image.paste((255, 255, 255), (128 + 16, 16, 128 + 256 - 16, 256 - 16))  # the central 224 × 224
    prepared = ImageNetPreparation()(image)
    assert prepared[0].min() == prepared[0].max() > 0


def test_random_weights_are_seeded_and_called_random() -> None:
    before = torch.random.get_rng_state()
    encoder = create(VGG16Config(seed=3))
    assert torch.equal(before, torch.random.get_rng_state())
    assert (encoder.spec.weights, encoder.spec.seed) == ("random", 3)
    assert encoder.spec.sha256 == of_state(encoder.network.state_dict())
    assert create(VGG16Config(seed=4)).spec.sha256 != encoder.spec.sha256


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "as torchvision's of 2017"])
def test_weights_load_from_a_file_and_are_known_again(
    zipped: bool, tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "weights" / "vgg16.pth"
    path.parent.mkdir()
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    monkeypatch.setenv("MMKGC_WEIGHTS", str(path.parent))
    encoder = create(VGG16Config(weights="vgg16.pth"))
    image = Image.linear_gradient("L").convert("RGB")
    vectors = encoder.encode([image, image.rotate(90)])
    expected = network(torch.stack([ImageNetPreparation()(image), ImageNetPreparation()(image.rotate(90))]))
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert (vectors.shape, vectors.dtype) == ((2, 4096), np.float32)
    assert encoder.spec.sha256 == digests.of_file(path)
    assert (encoder.spec.weights, encoder.spec.seed) == (path.name, None)
    again = recreate(encoder.spec.model_dump())
    np.testing.assert_array_equal(again.encode([image]), encoder.encode([image]))
    path.write_bytes(path.read_bytes() + b"changed")
    with pytest.raises(UserError, match="not the weights that the features were made with"):
        recreate(encoder.spec.model_dump())


def test_tokens_are_the_cells_of_the_last_map(network: Network) -> None:
    encoder = create(VGG16Config(output="tokens"))
    encoder.__dict__["network"] = network
    prepared = encoder.prepare([Image.linear_gradient("L").convert("RGB")])
    (sequence,) = encoder.sequences(prepared)
    assert sequence.shape == (49, encoder.dimension) == (49, 512)
    np.testing.assert_allclose(sequence[8], network.features(prepared[0][None])[0, :, 1, 1], atol=1e-5)


def test_bad_weight_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file, here or in \$MMKGC_WEIGHTS"):
        _ = create(VGG16Config(weights="nowhere.pth")).spec
    other, evil = tmp_path / "other.pth", tmp_path / "evil.pth"
    torch.save({"features.0.weight": torch.zeros(1)}, other)
    evil.write_bytes(pickle.dumps(_Evil()))
    for path in (other, evil):
        with pytest.raises(UserError, match="not the weights of vgg16"):
            _ = create(VGG16Config(weights=str(path))).network


class _Evil:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('code of a weight file was run')",)
