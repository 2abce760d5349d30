"""Weights that are added once: checked, stored under the home, found by every later run."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from transformers import BeitConfig, BeitImageProcessorPil, BeitModel

from mmkgc.components.encoders import vgg16, weights
from mmkgc.components.encoders.added import add
from mmkgc.components.encoders.beit import BEiT, BEiTConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.encoders.sbert import SBERT
from mmkgc.components.encoders.vgg16 import VGG16, VGG16Config
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli import mmkgc


class Small(torch.nn.Module):
    """In the place of VGG-16's 138 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = torch.nn.Conv2d(3, 2, 1)


@pytest.fixture
def released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A released file: its name states the digest."""
    monkeypatch.setattr(VGG16, "Network", Small)
    file = tmp_path / "download.pth"
    torch.save(Small().state_dict(), file)
    name = f"vgg16-{digests.of_file(file)[:8]}.pth"
    monkeypatch.setattr(VGG16, "released", name)
    monkeypatch.setattr(vgg16, "RELEASED", name)
    return file


def test_added_weights_become_the_default_and_are_found_without_the_source(released: Path, home: Path) -> None:
    digest = digests.of_file(released)
    assert VGG16Config().weights == "random"
    stored = add(VGG16, released)
    released.unlink()
    assert (stored.label, stored.sha256, stored.path) == (VGG16.released, digest, home / "weights" / VGG16.released)
    assert VGG16Config().weights == VGG16.released
    assert create(VGG16Config()).spec.sha256 == digest
    assert torch.isfinite(create(VGG16Config()).network.features.weight).all()
    assert VGG16Config(weights="random").weights == "random"
    assert add(VGG16, home / "weights" / VGG16.released) == stored  # what is there is not copied over itself


def test_a_file_that_is_not_the_released_one_is_refused_and_not_stored(released: Path, home: Path) -> None:
    released.write_bytes(released.read_bytes() + b"x")
    with pytest.raises(UserError, match="its SHA-256 begins with"):
        add(VGG16, released)
    assert not (home / "weights").exists()


def test_a_file_with_the_right_digest_must_load(released: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    released.write_bytes(b"no weights")
    monkeypatch.setattr(VGG16, "released", f"vgg16-{digests.of_file(released)[:8]}.pth")
    with pytest.raises(UserError, match="these are not the weights of vgg16"):
        add(VGG16, released)
    assert not (home / "weights").exists()


def test_a_downloaded_file_that_was_cut_is_refused_wherever_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"the first bytes")
    with pytest.raises(UserError, match="that of the released file with 397923af"):
        weights.file_weights(str(tmp_path / "vgg16-397923af.pth"))


def test_a_folder_of_the_hub_is_added_under_its_hub_name(tmp_path: Path, home: Path) -> None:
    folder = tmp_path / "download"
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BeitModel(BeitConfig(**small, image_size=32), add_pooling_layer=False).save_pretrained(folder)
    BeitImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    stored = add(BEiT, folder)
    assert stored.path == home / "weights" / "beit-base-patch16-224-pt22k-ft22k"
    assert create(BEiTConfig()).dimension == 8
    assert create(BEiTConfig(weights=create(BEiTConfig()).spec.weights)).spec == create(BEiTConfig()).spec


def test_packaged_weights_need_not_be_added(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sbert: its weights need not be added — name other weights in the recipe"):
        add(SBERT, tmp_path)


def test_the_command_adds_and_lists(released: Path) -> None:
    run = CliRunner().invoke
    before = run(mmkgc, ["weights", "list"]).output
    assert f"{VGG16.released}: not here, random weights are used — mmkgc weights add vgg16 FILE" in before
    assert "EfficientNet-Lite0  SHA-256 579344248a93…" in before
    added = run(mmkgc, ["weights", "add", "VGG-16", str(released)])
    assert added.exit_code == 0, added.exception
    assert f"uses {VGG16.released}" in added.output
    assert f"{VGG16.released}  SHA-256 {digests.of_file(released)[:12]}" in run(mmkgc, ["weights", "list"]).output


def test_the_command_knows_encoders_by_name(released: Path) -> None:
    assert "did you mean 'vgg16'" in str(CliRunner().invoke(mmkgc, ["weights", "add", "vgg19", "x"]).exception)
