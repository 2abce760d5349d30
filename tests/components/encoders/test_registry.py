import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.encoders.base import Encoder
from mmkgc.components.encoders.registry import configs, create, encoders, recreate
from mmkgc.components.encoders.sbert import SBERT
from mmkgc.components.extract.config import ExtractConfig
from mmkgc.components.runtime.errors import UserError


class Recipe(BaseModel):
    visual: configs("visual") | None = None
    textual: configs("textual") | None = None


def test_files_of_the_folder_are_found() -> None:
    assert {encoder.__name__ for encoder in encoders} >= {"BEiT", "EfficientNetLite0", "Literals", "SBERT", "VGG16"}


@pytest.mark.parametrize("encoder", sorted(encoders, key=lambda found: found.__name__))
def test_a_configuration_names_its_encoder(encoder: type[Encoder]) -> None:
    assert encoder.Config.model_fields["encoder"].default == encoders.normalize(encoder.__name__)
    assert encoder.modality in MODALITIES


def test_a_recipe_names_an_encoder_and_survives_json() -> None:
    recipe = Recipe.model_validate({"visual": {"encoder": "vgg16", "seed": 2}, "textual": {"encoder": "sbert"}})
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert isinstance(create(recipe.textual), SBERT)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"encoder": "vgg19"}, "'beit', 'efficientnetlite0', 'hfvision', 'vgg16'"),
        ({"encoder": "sbert"}, "'beit', 'efficientnetlite0', 'hfvision', 'vgg16'"),
        ({"encoder": "vgg16", "sed": 1}, "sed"),
        ({"encoder": "beit", "pooling": "max"}, "'cls' or 'mean'"),
    ],
)
def test_wrong_names_and_values_are_refused(wrong: dict, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Recipe.model_validate({"visual": wrong})


def test_an_encoder_is_chosen_by_its_name_in_any_spelling() -> None:
    chosen = ExtractConfig.model_validate({"textual": "SBERT", "visual": {"encoder": "VGG-16", "seed": 2}})
    exact = {"textual": {"encoder": "sbert"}, "visual": {"encoder": "vgg16", "seed": 2}}
    assert chosen == ExtractConfig.model_validate(exact)


def test_imported_vectors_have_no_encoder() -> None:
    with pytest.raises(UserError, match="no encoder made these features"):
        recreate({"encoder": "imported", "weights": "VGG"})


def test_who_an_encoder_is_needs_no_transformers() -> None:
    code = (
        "import sys; from mmkgc.components.encoders.registry import create\n"
        "from mmkgc.components.encoders.sbert import SBERTConfig\n"
        "create(SBERTConfig()).spec; sys.exit('transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_changed_file_of_weights_and_a_damaged_note_are_not_believed(tmp_path, monkeypatch):
    import os

    from mmkgc.components.encoders import weights

    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    file = tmp_path / "w.pth"
    file.write_bytes(b"one")
    state = file.stat()
    one = weights.file_weights(str(file)).sha256
    file.write_bytes(b"two")
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))  # the same size and time
    assert weights.file_weights(str(file)).sha256 != one
    assert weights._remembered("key", lambda: "f" * 64) == "f" * 64
    (note,) = (tmp_path / "home" / "scratch" / "weights").iterdir()
    note.write_text(note.read_text().replace("f", "e", 1))
    assert weights._remembered("key", lambda: "f" * 64) == "f" * 64
    assert weights._remembered("key", lambda: "never asked") == "f" * 64
