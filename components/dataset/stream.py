"""Triples of a tab-separated file as ids, block by block: the memory is that of the ids and of one block.

Only files without fault are read here. For any other file the result is None; the caller then reads it line by line and
reports what is wrong, with the number of the line.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv

from mmkgc.components.kge.vocabulary import PARTS

BLOCK_BYTES = 1 << 26
HEADER_BYTES = 1 << 10
RETURN, NEWLINE = b"\r", b"\n"


def read_ids(path: Path, keys: Sequence[pa.Array]) -> tuple[int, np.ndarray] | None:
    """Number of the first line of data, and ids int32 ``[T, len(keys)]`` of the keys of each column.

    None if a line has another number of columns, a key is unknown, or the file is empty or no UTF-8 text.
    """
    try:
        first = _first_line(path) if os.path.isfile(path) else None
        if first is None or not _has_usual_lines(path):
            return None
        blocks = [_ids(block, keys) for block in _blocks(path, first - 1, len(keys))]
    except (OSError, pa.ArrowException, _Unknown):
        return None
    return (first, np.concatenate(blocks)) if blocks else None


class _Unknown(Exception):
    """A block has a key that is not in the vocabulary."""


def _first_line(path: Path) -> int | None:
    """1, or 2 if the first line is the header of triples; None if the file is empty."""
    with path.open("rb") as file:
        line = file.readline(HEADER_BYTES)
    names = line.removeprefix(b"\xef\xbb\xbf").decode(errors="replace").strip("\r\n").lower().split("\t")
    if not line.strip():
        return None
    return 2 if [name.strip() for name in names] == list(PARTS) else 1


def _has_usual_lines(path: Path) -> bool:
    """Whether lines end in LF or CR LF: the reader would also take a single CR for the end of a line."""
    with path.open("rb") as file:
        last = b""
        while block := file.read(BLOCK_BYTES):
            ends = block.count(RETURN + NEWLINE) + (last == RETURN and block[:1] == NEWLINE)
            if block.count(RETURN) - (block[-1:] == RETURN) + (last == RETURN) != ends:
                return False
            last = block[-1:]
    return last != RETURN


def _blocks(path: Path, skip: int, width: int) -> Iterator[pa.RecordBatch]:
    names = [str(column) for column in range(width)]
    reading = csv.ReadOptions(column_names=names, skip_rows=skip, block_size=BLOCK_BYTES, use_threads=False)
    parsing = csv.ParseOptions(delimiter="\t", quote_char=False, ignore_empty_lines=False)
    types = dict.fromkeys(names, pa.large_string())
    converting = csv.ConvertOptions(column_types=types, strings_can_be_null=False, quoted_strings_can_be_null=False)
    yield from csv.open_csv(path, reading, parsing, converting)


def _ids(block: pa.RecordBatch, keys: Sequence[pa.Array]) -> np.ndarray:
    """Ids int32 ``[rows, columns]``."""
    ids = np.empty((len(block), len(keys)), np.int32)
    for column, known in enumerate(keys):
        found = pc.index_in(block.column(column), known)
        if found.null_count:
            raise _Unknown
        ids[:, column] = found.to_numpy()
    return ids
