"""Import of existing features, such as the pooled VGG, BEiT and SBERT files of DB15K, MKG-W and MKG-Y."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, looks_like, shown
from mmkgc.components.runtime.nouns import counted
from mmkgc.feature_store.arrays import name_in, read_array
from mmkgc.feature_store.parts import OK, Row
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import Entity, FeatureWriter

IMPORTED = "imported"
LONGEST_ORIGIN = 500  # characters


def import_features(
    path: Path,
    modality: str,
    keys: Sequence[str],
    storage: Storage,
    array: str | None = None,
    made_by: str = "unknown",
    dtype: str = "float32",
) -> Stored:
    """Commit the vectors of an array file as features of the entities ``keys``.

    The file holds ``[N, d]`` (or token sequences ``[N, L, d]``) in the order of ``keys``, or a dictionary of vectors by
    key. A row of zeros counts as missing. The file's digest and ``made_by``, the origin, are stored as provenance.
    Raises UserError if shape, order or values are invalid.
    """
    if len(made_by) > LONGEST_ORIGIN:
        raise UserError("made by", f"{len(made_by)} characters", f"use {LONGEST_ORIGIN} at most")
    vectors = _in_order(read_array(path, array), keys, path)
    spec = FeatureSpec(modality, _identity(path, vectors, array, made_by), dtype)
    writer = FeatureWriter(spec, storage)
    entities = [Entity(key, content, "no vector in the file") for key, content in _contents(keys, vectors)]
    if stored := writer.committed(entities):
        return stored
    writer.add(_rows(entities, vectors, writer.known()))
    return writer.commit(entities, provenance={"file": path.name, "array": array, "made_by": made_by})


def _in_order(found: np.ndarray | dict[str, np.ndarray], keys: Sequence[str], path: Path) -> np.ndarray:
    """Vectors ``[N, …]`` in the order of ``keys``; checked."""
    if isinstance(found, dict):
        found = _stack(found, keys, path)
    if found.ndim not in (2, 3) or not np.issubdtype(found.dtype, np.floating) or 0 in found.shape[1:]:
        raise UserError(path, f"the array is {found.dtype} {list(found.shape)}", "floats [entities, d] are needed")
    if len(found) != len(keys):
        raise UserError(
            path, f"the array has {counted(len(found), 'row')}, and the graph {counted(len(keys), 'entity')}",
            "give the keys of its rows in order (--keys)",
        )  # fmt: skip
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are rejected below
        found = found.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))
    if len(bad):
        raise UserError(path, f"row {bad[0]} ('{shown(keys[bad[0]])}') is not finite", "mend or remove such rows")
    return found


def _stack(found: dict[str, np.ndarray], keys: Sequence[str], path: Path) -> np.ndarray:
    names = [name_in(path, key) for key in keys]
    if unknown := sorted(set(found) - set(names)):
        what = f"{counted(len(unknown), 'key is no entity', 'keys are no entities')}, such as '{shown(unknown[0])}'"
        raise UserError(path, what, looks_like(unknown[0], names) or "give the graph's keys")
    if shared := [name for name, count in Counter(names).items() if count > 1 and name in found]:
        what = f"'{shown(shared[0])}' is the vector of several entities, whose keys differ in slashes alone"
        raise UserError(path, what, "save it as .npz, .pth or .safetensors, which keep slashes")
    shapes = {vector.shape for vector in found.values()}
    if len(shapes) != 1:
        raise UserError(path, f"vectors have different shapes {sorted(shapes)}", "one width is needed")
    nothing = np.zeros(shapes.pop(), np.float32)
    return np.stack([found.get(name, nothing) for name in names])


def _identity(path: Path, vectors: np.ndarray, array: str | None, made_by: str) -> dict[str, str | int | None]:
    """Identity of an imported file in place of an encoder; it cannot encode further items."""
    return {
        "encoder": IMPORTED,
        "weights": made_by,
        "sha256": digests.of_file(path),
        "array": array,
        "dimension": vectors.shape[-1],
        "output": "tokens" if vectors.ndim == 3 else "pooled",
    }


def _contents(keys: Sequence[str], vectors: np.ndarray) -> Iterator[tuple[str, str | None]]:
    for key, vector in zip(keys, vectors, strict=True):
        yield key, digests.of_bytes(vector.tobytes()) if vector.any() else None


def _rows(entities: Sequence[Entity], vectors: np.ndarray, known: set[str]) -> Iterator[Row]:
    for entity, vector in zip(entities, vectors, strict=True):
        if entity.content and entity.content not in known:
            known.add(entity.content)
            kept = vector if vector.ndim == 1 else vector[vector.any(axis=1)]
            yield Row(entity.key, entity.content, kept, 1, OK)
