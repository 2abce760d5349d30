"""Publishes the local files that a recipe names to the store, since a cluster's pods cannot read them."""

from pathlib import Path
from typing import Any, NamedTuple

from mmkgc.components.encoders.weights import find_local
from mmkgc.components.extract.config import ImportedConfig
from mmkgc.components.ingest import increments, source
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.names import REGISTERED
from mmkgc.feature_store.inputs import publish_input
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline.config import Recipe

WEIGHT_FILES = (".pth", ".pt", ".bin", ".safetensors")


class LocalInput(NamedTuple):
    """A local file or folder that the recipe names at ``key``."""

    key: str
    path: Path


def local_inputs(recipe: Recipe) -> list[LocalInput]:
    """All local files and folders that the recipe names. Raises UserError if one is missing."""
    found = []
    if recipe.dataset not in source.BUNDLED and "://" not in recipe.dataset:
        found.append(LocalInput("dataset", source.folder_of(recipe.dataset)))
    for index, place in enumerate(recipe.ingest.increments):
        if "://" not in place:
            increments.fingerprint([place])  # raises UserError for a folder without triples
            found.append(LocalInput(f"ingest.increments.{index}", Path(place)))
    start = recipe.train.start
    if start is not None and "://" not in start and not start.startswith(REGISTERED):
        if not (Path(start) / "bundle.json").is_file():
            mend = "give models:/NAME@ALIAS, or the folder of a model"
            raise UserError(f"train.start {start}", "there is no model bundle", mend)
        found.append(LocalInput("train.start", Path(start)))
    for modality, encoder in recipe.extract:
        for field in ("source", "weights"):
            named, key = getattr(encoder, field, None), f"extract.{modality}.{field}"
            if isinstance(named, str) and (path := _local(named, key, encoder)):
                found.append(LocalInput(key, path))
    return found


def publish(recipe: Recipe, storage: Storage) -> Recipe:
    """Copy all local inputs to the store, and return the recipe with their URIs.

    The copies are content-addressed; existing ones are reused. Raises UserError for a missing input, and if the store
    is a local folder.
    """
    found = local_inputs(recipe)
    if found and "://" not in storage.root:
        raise UserError(
            f"{found[0].key} {found[0].path}",
            f"pods cannot read this machine's files, nor its store {storage.root}",
            "set MMKGC_STORAGE to the store of the cluster, s3://bucket/prefix",
        )
    values = recipe.model_dump(mode="json", by_alias=True)
    for key, path in found:
        kind = "bundles" if key == "train.start" else "datasets"
        whole = key in ("dataset", "train.start") or key.startswith("ingest.")
        uri = storage.publish(path, kind).uri if whole else publish_input(path, storage)
        _put(values, key.split("."), uri)
    return Recipe.model_validate(values)


def _local(place: str, key: str, encoder: Any) -> Path | None:
    """The file or folder that ``place`` names; None for names, digests and URIs."""
    if "://" in place:
        return None
    if isinstance(encoder, ImportedConfig):
        path = Path(place)
        is_file = path.suffix not in ("", ".json")  # otherwise a manifest in the store
    else:
        path = find_local(place) or Path(place).expanduser()
        is_file = path.exists() or path.suffix in WEIGHT_FILES or place.startswith((".", "/", "~"))
    if is_file and not path.exists():
        raise UserError(key, f"there is no '{place}' on this machine", "give the path of the file or folder")
    return path if is_file else None


def _put(values: Any, path: list[str], value: str) -> None:
    """Set a value of nested dictionaries and lists."""
    *parents, last = path
    for part in parents:
        values = values[int(part) if isinstance(values, list) else part]
    values[int(last) if isinstance(values, list) else last] = value
