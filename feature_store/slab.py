"""A slab: all vectors of a manifest in one memory-mapped file, in the order of its entities.

Parquet is for keeping; a slab is for reading. It is built once a machine, under ``MMKGC_SCRATCH``, and named by the
manifest's digest; every process that opens it shares the same pages.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import safe_open
from torch import Tensor

from components.runtime.files import atomic_path
from components.runtime.settings import Settings
from feature_store.manifest import Manifest, digest_of
from feature_store.parts import USABLE, read_part, read_table, vectors_of
from feature_store.storage import Storage

READERS = 4


@dataclass(frozen=True)
class Slab:
    """Vectors float32 ``[N, d]`` of the entities ``keys``; ``mask`` bool ``[N]``, false where there is none."""

    keys: tuple[str, ...]
    vectors: Tensor
    mask: Tensor


def open_slab(uri: str, storage: Storage) -> Slab:
    """The slab of a manifest, built if this machine has none yet."""
    folder = Settings.from_env().scratch / "slabs" / digest_of(uri)
    if not folder.is_dir():
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            _build(Manifest.read(uri, storage), storage, temporary)
    entities = pq.read_table(folder / "entities.parquet", columns=["key", "status"])
    with safe_open(folder / "vectors.safetensors", "pt") as file:
        vectors = file.get_tensor("vectors")
    return Slab(tuple(entities["key"].to_pylist()), vectors, torch.from_numpy(_usable(entities)))


def _build(manifest: Manifest, storage: Storage, folder: Path) -> None:
    entities = read_table(manifest.entities, manifest.spec, storage)
    pq.write_table(entities, folder / "entities.parquet")
    contents = np.where(_usable(entities), entities["content"].to_numpy(), "")
    vectors = create_safetensors(folder / "vectors.safetensors", len(contents), manifest.spec.dimension)
    for table in _parts(manifest, storage):
        rows, positions = _match(contents, table["content"])
        vectors[rows] = vectors_of(table, manifest.spec.dimension)[positions]
    vectors.flush()


def _parts(manifest: Manifest, storage: Storage) -> Iterator[pa.Table]:
    with ThreadPoolExecutor(READERS) as pool:
        yield from pool.map(lambda file: read_part(file, manifest.spec, storage), manifest.parts)


def _match(wanted: np.ndarray, contents: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Entities whose content is in this part, and its position there."""
    positions = pa.compute.index_in(pa.array(wanted, pa.string()), value_set=contents.combine_chunks())
    rows = np.flatnonzero(positions.is_valid().to_numpy(zero_copy_only=False))
    return rows, positions.drop_null().to_numpy()


def _usable(entities: pa.Table) -> np.ndarray:
    return np.isin(entities["status"].to_numpy().astype(str), USABLE)


def create_safetensors(path: Path, rows: int, dimension: int) -> np.memmap:
    """A safetensors file with one float32 tensor ``vectors`` ``[rows, dimension]`` of zeros, open for writing.

    The library only writes tensors that fit into memory; the header is a length and a JSON object.
    """
    shape = (rows, dimension)
    entry = {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * rows * dimension]}
    header = json.dumps({"vectors": entry}).encode()
    header += b" " * (-len(header) % 64 + 56)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return np.memmap(path, np.float32, "r+", offset=8 + len(header), shape=shape)
