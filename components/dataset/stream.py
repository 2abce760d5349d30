"""Tab-separated files block by block, as ids or as columns in Arrow's memory.

Only files without fault are read here. For any other file the result is None; the caller then reads it line by line and
reports what is wrong, with the number of the line.
"""

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from weakref import WeakSet

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.ipc

from mmkgc.components.dataset.key_index import KeyIndex
from mmkgc.components.kge.vocabulary import PARTS

BLOCK_BYTES = 1 << 18  # Arrow reads 32 blocks ahead
HEADER_BYTES = 1 << 16
POOL = pa.system_memory_pool()  # gives back what it does not need any more; Arrow's usual one keeps it
pa.set_memory_pool(POOL)  # also of Parquet's writer
MAPS: WeakSet[mmap.mmap] = WeakSet()  # of columns
MARK, RETURN, NEWLINE = b"\xef\xbb\xbf", b"\r", b"\n"


def read_ids(path: Path, keys: Sequence[KeyIndex]) -> tuple[int, np.ndarray] | None:
    """Number of the first line of data, and ids int32 ``[T, len(keys)]`` of the keys of each column.

    None if a line has another number of columns, a key is unknown, or the file is empty or no UTF-8 text.
    """
    line = first_line(path)
    if not line or not line.strip():
        return None
    names = [name.strip() for name in line.lower().split("\t")]
    first, rows = (2 if names == list(PARTS) else 1), 0
    release_unused()
    try:
        most = _count_lines(path)
        ids = np.empty((most, len(keys)), np.int32)  # pages that no line fills take no memory
        for block in _blocks(path, first - 1, [str(column) for column in range(len(keys))]):
            for column, known in enumerate(keys):
                found = known.of(block.column(column))
                if (found < 0).any():
                    return None
                ids[rows : rows + len(block), column] = found
            rows += len(block)
    except (OSError, pa.ArrowException, _UnusualLines):
        return None
    return (first, ids[:rows]) if rows else None


def read_columns(path: Path, names: Sequence[str]) -> list[pa.ChunkedArray] | None:
    """The columns of the lines after the first, which has these ``names``. None for a file with a fault.

    They lie in a temporary file, from which the system reads what is used (see ``release_unused``), and which ends with
    the last column.
    """
    schema = pa.schema([(name, pa.string()) for name in names])
    try:
        _count_lines(path)
        with NamedTemporaryFile() as file:
            with pa.ipc.new_file(file.name, schema) as writer:
                for block in _blocks(path, 1, names):
                    writer.write_batch(block)
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        MAPS.add(mapped)
        return list(pa.ipc.open_file(pa.py_buffer(mapped)).read_all().columns)
    except (OSError, pa.ArrowException, _UnusualLines):
        return None


def release_unused() -> None:
    """Give back freed memory, and the pages of all mapped columns: used again, they are read from their file."""
    POOL.release_unused()
    for mapped in MAPS:
        mapped.madvise(mmap.MADV_DONTNEED)


def first_line(path: Path) -> str | None:
    """The first line without its end; None if there is no such file, or the line is no UTF-8 text or very long."""
    try:
        if not os.path.isfile(path):
            return None
        with path.open("rb") as file:
            line = file.readline(HEADER_BYTES)
        return line.removeprefix(MARK).decode().rstrip("\r\n") if len(line) < HEADER_BYTES else None
    except (OSError, ValueError):
        return None


class _UnusualLines(Exception):
    """A CR ends no line: the reader would take it for the end of one."""


def _count_lines(path: Path) -> int:
    """Number of lines, at most. Raises _UnusualLines unless all end in LF or CR LF."""
    count, last = 1, b""
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            ends = block.count(RETURN + NEWLINE) + (last == RETURN and block[:1] == NEWLINE)
            if block.count(RETURN) - (block[-1:] == RETURN) + (last == RETURN) != ends:
                raise _UnusualLines
            last = block[-1:]
            count += block.count(NEWLINE)
    if last == RETURN:
        raise _UnusualLines
    return count


def _blocks(path: Path, skip: int, names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of strings after the first ``skip`` lines."""
    reading = csv.ReadOptions(column_names=names, skip_rows=skip, block_size=BLOCK_BYTES, use_threads=False)
    parsing = csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False)
    types = dict.fromkeys(names, pa.string())
    converting = csv.ConvertOptions(column_types=types, strings_can_be_null=False, quoted_strings_can_be_null=False)
    yield from csv.open_csv(path, reading, parsing, converting)
