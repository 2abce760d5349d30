"""Files that a user names in a recipe, published so that a cluster's pods can read them."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkgc.feature_store.storage import Storage


def publish_input(path: Path, storage: Storage) -> str:
    """URI of a file or folder in the store. It keeps its name there, and the same content is stored once."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "input" / path.resolve().name
        copy.parent.mkdir()
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copy2(path, copy)
        return storage.publish(copy.parent, "inputs").uri


def local_input(place: str, storage: Storage) -> str:
    """The path of a published file or folder on this machine; anything but a URI is returned as it is."""
    if "://" not in place:
        return place
    (content,) = storage.fetch(place).iterdir()
    return str(content)
