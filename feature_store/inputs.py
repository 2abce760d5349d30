"""Files named in a recipe, published so that the pods of a cluster can read them."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mmkgc.feature_store.storage import Storage


def publish_input(path: Path, storage: Storage) -> str:
    """Publish a file or folder and return its URI. It keeps its name; the same content is stored once."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / "input" / path.resolve().name
        copy.parent.mkdir()
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copy2(path, copy)
        return storage.publish(copy.parent, "inputs").uri


def local_input(place: str, storage: Storage) -> str:
    """Local path of a published file or folder; anything other than a URI is returned unchanged."""
    if "://" not in place:
        return place
    (content,) = storage.fetch(place).iterdir()
    return str(content)
