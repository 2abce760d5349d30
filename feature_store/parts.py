"""Parquet files of vectors, one row per content."""

import sys
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.manifest import File, file_name
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage

OK, PARTIAL, FAILED, MISSING = "ok", "partial", "failed", "missing"
USABLE = (OK, PARTIAL)
ANEW = "run again, which extracts it anew (import again what was imported)"


class Row(NamedTuple):
    """The vector of one content, or the reason why there is none.

    ``key`` is the first entity that has the content. ``vector`` is float ``[d]`` (``[n, d]`` where the spec says
    tokens), ``None`` where ``status`` is ``failed``. ``images`` counts pooled items; ``error`` also holds remarks.
    """

    key: str
    content: str
    vector: np.ndarray | None
    images: int
    status: str
    error: str = ""


def encode_part(rows: Sequence[Row], spec: FeatureSpec) -> bytes:
    """Encode a part: zstd compression; byte-stream split and no dictionary for the vectors.

    Parquet files with a null in a fixed-size list cannot be read back, so a failed row holds NaN instead of zeros.
    """
    columns = [pa.array([getattr(row, name) for row in rows], spec.schema.field(name).type)
               if name != "vector" else _vectors(rows, spec) for name in spec.schema.names]  # fmt: skip
    sink = pa.BufferOutputStream()
    leaf = "vector.list.element.list.element" if spec.tokens else "vector.list.element"
    pq.write_table(
        pa.table(columns, schema=spec.schema),
        sink,
        compression="zstd",
        use_dictionary=["images", "status", "error"],
        column_encoding={leaf: "BYTE_STREAM_SPLIT"},
        data_page_size=1 << 24,  # reading one page per part is 1.5 times as fast as pages of the default size
    )
    return sink.getvalue().to_pybytes()


def store_part(rows: Sequence[Row], spec: FeatureSpec, storage: Storage) -> None:
    """Store a part atomically under a name derived from its bytes."""
    data = encode_part(rows, spec)
    storage.write(f"{spec.folder}/{file_name('part', data)}", data)


def read_table(file: File, spec: FeatureSpec, storage: Storage, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file of the store and check its CRC-32; a SHA-256 would take as long as reading."""
    data = _read(file, spec, storage)
    if f"{zlib.crc32(data):08x}" != file.crc32:
        raise _changed(file, spec, storage)
    return pq.ParquetFile(pa.BufferReader(data)).read(columns, use_threads=False)  # callers read several files at once


def check_digest(file: File, spec: FeatureSpec, storage: Storage) -> None:
    """Raise UserError unless the file's bytes have the SHA-256 in its name."""
    if digests.of_bytes(_read(file, spec, storage)) != file.sha256:
        raise _changed(file, spec, storage)


def is_whole(file: File, spec: FeatureSpec, storage: Storage) -> bool:
    """Whether a file has the CRC-32 in its name; if not, it is deleted with a warning on stderr."""
    try:
        data = storage.read(f"{spec.folder}/{file.name}")
    except FileNotFoundError:
        return False
    if f"{zlib.crc32(data):08x}" == file.crc32:
        return True
    print(f"warning: {_changed(file, spec, storage)}", file=sys.stderr)
    storage.delete(f"{spec.folder}/{file.name}")
    return False


def usable(table: pa.Table) -> np.ndarray:
    """Mask of the rows of a part, or of a manifest's entities, that have a vector, bool ``[rows]``."""
    return pc.is_in(table["status"], pa.array(USABLE)).to_numpy()


def vectors_of(table: pa.Table) -> np.ndarray:
    """Pooled vectors ``[rows, d]`` of a part, without copying."""
    return _matrix(_array(table["vector"]))


def sequences_of(table: pa.Table) -> list[np.ndarray]:
    """Token sequences ``[n, d]``, one per row of a part, without copying."""
    lists = _array(table["vector"])
    return np.split(_matrix(lists.flatten()), lists.offsets.to_numpy()[1:-1])


def _read(file: File, spec: FeatureSpec, storage: Storage) -> bytes:
    path = f"{spec.folder}/{file.name}"
    try:
        return storage.read(path)
    except FileNotFoundError as error:
        raise UserError(storage.uri(path), "this file of the features is gone", ANEW) from error


def _changed(file: File, spec: FeatureSpec, storage: Storage) -> UserError:
    uri = storage.uri(f"{spec.folder}/{file.name}")
    return UserError(uri, "this file was changed after it was written", ANEW)


def _array(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array; ``combine_chunks`` copies even a single chunk."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _matrix(array: pa.FixedSizeListArray) -> np.ndarray:
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)


def _vectors(rows: Sequence[Row], spec: FeatureSpec) -> pa.Array:
    nothing = np.full((1, spec.dimension), np.nan, np.float32)
    stacks = [nothing if row.vector is None else np.atleast_2d(row.vector) for row in rows]
    with np.errstate(over="ignore"):
        values = np.concatenate(stacks).astype(spec.dtype)
    if spec.dtype == "float16" and np.isinf(values).any():
        raise UserError("features", "a value does not fit into float16", "set extract.dtype to float32")
    flat = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), type=_vector_type(spec))
    if not spec.tokens:
        return flat
    offsets = np.cumsum([0] + [len(stack) for stack in stacks], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, flat)


def _vector_type(spec: FeatureSpec) -> pa.DataType:
    kind = spec.schema.field("vector").type
    return kind.value_type if spec.tokens else kind
