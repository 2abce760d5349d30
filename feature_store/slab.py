"""A slab: all vectors of a manifest in one memory-mapped file, in the order of its entities.

Parquet is used for storage, a slab for reading. It is built once per machine, under ``MMKGC_SCRATCH``, and named by the
manifest's digest; all processes that open it share the same pages. Each process verifies the checksums once, which also
loads the pages into memory, and rebuilds a slab that has changed.
"""

import json
import os
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from torch import Tensor

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, read_json, write_json
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.manifest import File, Manifest, digest_of
from mmkgc.feature_store.parts import read_table, sequences_of, usable, vectors_of
from mmkgc.feature_store.storage import Storage

READERS = 3
SYNCED_PARTS = 16
CHECKED_BYTES = 1 << 20
FILES = ENTITIES, VECTORS = "entities.parquet", "vectors.safetensors"
SUMS = "checksums.json"


@dataclass(frozen=True)
class Slab:
    """Vectors of the entities ``keys``: float32 ``[N, d]``, or ``[N, L, d]`` of token sequences padded with zeros.

    ``lengths`` int32 ``[N]`` counts an entity's vectors (1, or its tokens); 0 if it has none (a row of zeros).
    """

    keys: tuple[str, ...]
    vectors: Tensor
    lengths: Tensor


def open_slab(uri: str, storage: Storage, length: int | None = None) -> Slab:
    """Open the slab of a manifest, built if there is no intact one; token sequences are cut to ``length`` L."""
    name = digest_of(uri) + (f"-{length}" if length else "")
    folder = Settings.from_env().scratch / "slabs" / name
    if not _is_whole(folder, _states(folder)):
        if folder.exists():
            print(f"warning: the slab {folder} was changed after it was built; it is built anew", file=sys.stderr)
        with atomic_path(folder) as temporary:
            temporary.mkdir()
            _build(Manifest.read(uri, storage), storage, temporary, length)
            write_json(temporary / SUMS, {file: _checksum(temporary / file) for file in FILES})
    keys = pq.read_table(folder / ENTITIES, columns=["key"])["key"].to_pylist()
    with safe_open(folder / VECTORS, "pt") as file:
        return Slab(tuple(keys), file.get_tensor("vectors"), file.get_tensor("lengths"))


def _states(folder: Path) -> tuple[tuple[int, ...], ...]:
    """File states that change when a file of the slab is replaced or written; empty if a file is absent."""
    try:
        states = [(folder / file).stat() for file in FILES]
    except OSError:
        return ()
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for state in states)


@lru_cache(maxsize=64)
def _is_whole(folder: Path, states: tuple[tuple[int, ...], ...]) -> bool:
    """Whether the files have the checksums that were recorded when they were built."""
    try:
        return bool(states) and all(_checksum(folder / file) == sum_ for file, sum_ in read_json(folder / SUMS).items())
    except (OSError, ValueError, AttributeError):
        return False


def _checksum(path: Path) -> int:
    """CRC-32 of a file, as for the Parquet files: twice as fast as a SHA-256."""
    crc = 0
    with path.open("rb") as file:
        while block := file.read(CHECKED_BYTES):
            crc = zlib.crc32(block, crc)
    return crc


def _build(manifest: Manifest, storage: Storage, folder: Path, length: int | None) -> None:
    _check_kind(manifest, length)
    entities = read_table(manifest.entities, manifest.spec, storage)
    pq.write_table(entities.select(["key"]), folder / ENTITIES, use_dictionary=False)
    has_vector = usable(entities)
    entity_rows = _EntityRows(entities["content"].to_pylist(), has_vector)
    width = (manifest.spec.dimension,) if length is None else (length, manifest.spec.dimension)
    lengths = np.zeros(len(entities), np.int32)
    shapes = {"vectors": ("F32", (len(entities), *width)), "lengths": ("I32", lengths.shape)}

    def fill(part: File) -> None:
        table = read_table(part, manifest.spec, storage, ["content", "vector"])
        rows, positions = entity_rows.of(table["content"].to_pylist())
        vectors, lengths[rows] = _vectors(table, positions, length)
        _write_rows(slab.fileno(), begins["vectors"], rows, vectors)

    with (folder / VECTORS).open("w+b") as slab, ThreadPoolExecutor(READERS) as pool:
        begins = create_safetensors(slab, shapes)
        for done, _ in enumerate(pool.map(fill, manifest.parts), start=1):
            if done % SYNCED_PARTS == 0:
                os.fsync(slab.fileno())  # the disk writes while the readers decode
        _check_filled(lengths, has_vector, manifest)
        os.pwrite(slab.fileno(), lengths.data, begins["lengths"])
        os.fsync(slab.fileno())  # the slab must be complete on disk before it is renamed


def _vectors(table: pa.Table, positions: np.ndarray, length: int | None) -> tuple[np.ndarray, np.ndarray | int]:
    """Float32 vectors at ``positions`` of a part (sequences padded with zeros) and the number of each entity's."""
    if length is None:
        vectors = vectors_of(table).astype(np.float32, copy=False)
        return vectors if np.array_equal(positions, np.arange(len(vectors))) else vectors[positions], 1
    sequences = [sequence[:length] for sequence in sequences_of(table)]
    padded = np.zeros((len(positions), length, table.schema.field("vector").type.value_type.list_size), np.float32)
    for row, position in enumerate(positions):
        padded[row, : len(sequences[position])] = sequences[position]
    return padded, np.array([len(sequences[position]) for position in positions], np.int32)


def _write_rows(file: int, begin: int, rows: np.ndarray, vectors: np.ndarray) -> None:
    """Write ascending ``rows`` of a tensor at ``begin``, one call per run; half the cost of page faults."""
    if not len(rows):
        return
    starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for run, start in zip(np.split(vectors, starts[1:]), starts, strict=True):
        os.pwrite(file, run.data, begin + int(rows[start]) * run[0].nbytes)


class _EntityRows:
    """Rows of the entities of each content, as arrays: 30,000 lists would trigger Python's garbage collector."""

    def __init__(self, contents: Sequence[str], usable: np.ndarray) -> None:
        self.codes: dict[str, int] = {}
        codes = np.array([self.codes.setdefault(content, len(self.codes)) for content in contents], np.int64)
        rows = np.flatnonzero(usable)
        self.rows = rows[np.argsort(codes[rows], kind="stable")]  # rows of code c: offsets[c] to offsets[c + 1]
        self.offsets = np.searchsorted(codes[self.rows], np.arange(len(self.codes) + 1))

    def of(self, contents: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Ascending rows of the entities that have these contents, and the position of each entity's content."""
        codes = np.array([self.codes.get(content, -1) for content in contents], np.int64)
        known = np.flatnonzero(codes >= 0)
        counts = np.diff(self.offsets)[codes[known]]
        positions = np.repeat(known, counts)
        within = np.arange(len(positions)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.rows[self.offsets[codes[positions]] + within]
        order = np.argsort(rows)
        return rows[order], positions[order]


def _check_kind(manifest: Manifest, length: int | None) -> None:
    if manifest.spec.tokens and length is None:
        raise UserError(manifest.spec.folder, "these features are token sequences", "this model needs pooled vectors")
    if not manifest.spec.tokens and length is not None:
        raise UserError(manifest.spec.folder, "these features are pooled", "set the encoder's output to tokens")


def _check_filled(lengths: np.ndarray, usable: np.ndarray, manifest: Manifest) -> None:
    if not (lengths[usable] > 0).all():
        raise UserError(manifest.spec.folder, "the parts lack vectors that the manifest names", "extract them again")


def create_safetensors(file: BinaryIO, tensors: dict[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """Make ``file`` a safetensors file of zeros, given type (``F32``, ``I32``) and shape by name; returns the offsets.

    The library can only write tensors that fit into memory. The format is a length, a JSON header and the bytes.
    """
    sizes = [4 * int(np.prod(shape)) for _, shape in tensors.values()]
    ends = np.cumsum(sizes).tolist()
    header = {
        name: {"dtype": kind, "shape": shape, "data_offsets": [end - size, end]}
        for (name, (kind, shape)), size, end in zip(tensors.items(), sizes, ends, strict=True)
    }
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    file.write(len(text).to_bytes(8, "little") + text)
    file.truncate(8 + len(text) + ends[-1])
    file.flush()
    return {name: 8 + len(text) + end - size for name, size, end in zip(tensors, sizes, ends, strict=True)}
