"""A slab: all vectors of a manifest in one memory-mapped file, in the order of its entities.

Parquet is for keeping; a slab is for reading. It is built once a machine, under ``MMKGC_SCRATCH``, and named by the
manifest's digest; every process that opens it shares the same pages.
"""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from torch import Tensor

from components.runtime.errors import UserError
from components.runtime.files import atomic_path
from components.runtime.settings import Settings
from feature_store.manifest import File, Manifest, digest_of
from feature_store.parts import USABLE, read_table, sequences_of, vectors_of
from feature_store.storage import Storage

READERS = 4


@dataclass(frozen=True)
class Slab:
    """Vectors of the entities ``keys``: float32 ``[N, d]``, or ``[N, L, d]`` of token sequences padded with zeros.

    ``lengths`` int32 ``[N]`` counts an entity's vectors (1, or its tokens); 0 where it has none and its row is zero.
    """

    keys: tuple[str, ...]
    vectors: Tensor
    lengths: Tensor


def open_slab(uri: str, storage: Storage, length: int | None = None) -> Slab:
    """The slab of a manifest, built if this machine has none yet; ``length`` L cuts token sequences."""
    name = digest_of(uri) + (f"-{length}" if length else "")
    folder = Settings.from_env().scratch / "slabs" / name
    if not folder.is_dir():
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            _build(Manifest.read(uri, storage), storage, temporary, length)
    keys = pq.read_table(folder / "entities.parquet", columns=["key"])["key"].to_pylist()
    with safe_open(folder / "vectors.safetensors", "pt") as file:
        return Slab(tuple(keys), file.get_tensor("vectors"), file.get_tensor("lengths"))


def _build(manifest: Manifest, storage: Storage, folder: Path, length: int | None) -> None:
    _check_kind(manifest, length)
    entities = read_table(manifest.entities, manifest.spec, storage)
    pq.write_table(entities, folder / "entities.parquet")
    usable = np.isin(entities["status"].to_numpy().astype(str), USABLE)
    rows_of = _rows_by_content(entities["content"].to_pylist(), usable)
    width = (manifest.spec.dimension,) if length is None else (length, manifest.spec.dimension)
    shapes = {"vectors": ("F32", (len(usable), *width)), "lengths": ("I32", (len(usable),))}
    slab = create_safetensors(folder / "vectors.safetensors", shapes)

    def fill(part: File) -> None:
        table = read_table(part, manifest.spec, storage, ["content", "vector"])
        contents = enumerate(table["content"].to_pylist())
        pairs = [(row, position) for position, content in contents for row in rows_of.get(content, ())]
        rows, positions = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
        _copy(table, rows, positions, slab)

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(fill, manifest.parts))
    _check_filled(slab["lengths"], usable, manifest)
    for array in slab.values():
        array.flush()


def _copy(table: pa.Table, rows: np.ndarray, positions: np.ndarray, slab: dict[str, np.memmap]) -> None:
    """Copy the vectors at ``positions`` of a part to ``rows`` of the slab."""
    vectors, lengths = slab["vectors"], slab["lengths"]
    if vectors.ndim == 2:
        vectors[rows] = vectors_of(table)[positions]
        lengths[rows] = 1
        return
    sequences = sequences_of(table)
    for row, position in zip(rows, positions, strict=True):
        sequence = sequences[position][: vectors.shape[1]]
        vectors[row, : len(sequence)] = sequence
        lengths[row] = len(sequence)


def _rows_by_content(contents: Sequence[str], usable: np.ndarray) -> dict[str, list[int]]:
    """Entities that have a content: several may share one."""
    rows: dict[str, list[int]] = {}
    for row in np.flatnonzero(usable).tolist():
        rows.setdefault(contents[row], []).append(row)
    return rows


def _check_kind(manifest: Manifest, length: int | None) -> None:
    if manifest.spec.tokens and length is None:
        raise UserError(manifest.spec.folder, "these features are token sequences", "this model needs pooled vectors")
    if not manifest.spec.tokens and length is not None:
        raise UserError(manifest.spec.folder, "these features are pooled", "set the encoder's output to tokens")


def _check_filled(lengths: np.ndarray, usable: np.ndarray, manifest: Manifest) -> None:
    if not (lengths[usable] > 0).all():
        raise UserError(manifest.spec.folder, "the parts lack vectors that the manifest names", "extract them again")


def create_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, np.memmap]:
    """A safetensors file of zeros, open for writing: type (``F32``, ``I32``) and shape by name.

    The library only writes tensors that fit into memory; the format is a length, a JSON header, and the bytes.
    """
    sizes = [4 * int(np.prod(shape)) for _, shape in tensors.values()]
    begins = [sum(sizes[:index]) for index in range(len(sizes))]
    header = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [begin, begin + size]}
        for (name, (kind, shape)), begin, size in zip(tensors.items(), begins, sizes, strict=True)
    }
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with path.open("r+b") as file:
        file.truncate(8 + len(text) + sum(sizes))
    return {
        name: np.memmap(path, np.dtype(_NUMPY[kind]), "r+", 8 + len(text) + begin, shape)
        for (name, (kind, shape)), begin in zip(tensors.items(), begins, strict=True)
    }


_NUMPY = {"F32": np.float32, "I32": np.int32}
