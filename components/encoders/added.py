"""Pretrained weights that a user adds once: checked, copied under the project's home, and found by every run."""

import shutil
from pathlib import Path

from mmkgc.components.encoders.base import Encoder
from mmkgc.components.encoders.weights import Weights, added_to, file_weights
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path


def add(encoder: type[Encoder], source: Path) -> Weights:
    """Check that ``source`` holds the released weights of ``encoder`` and store them; the stored weights.

    A file must have the digest that the released name states; both a file and a folder must load as the encoder's
    network. Raises UserError otherwise, and for an encoder whose weights are packaged or named by the recipe.
    """
    if not encoder.released:
        name = encoder.Config.model_fields["encoder"].default
        fix = f"name other weights in the recipe: extract.{encoder.modality}.weights"
        raise UserError(name, "its weights need not be added", fix)
    source = source.expanduser().resolve()
    target = added_to() / Path(encoder.released).name
    if source.is_file():
        file_weights(str(source), target.stem.rpartition("-")[2])
    _ = encoder(encoder.Config.model_validate({"weights": str(source)})).network
    if source != target:
        with atomic_path(target) as path:
            (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
    return encoder(encoder.Config.model_validate({"weights": encoder.released})).weights
