"""Writes the files of a checked graph, Parquet tables and one JSON file, without PyTorch and part by part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Contents, Same
from mmkgc.components.dataset.stream import release_unused
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.components.runtime.files import write_json

SPLITS = ("train", "valid", "test", "known")
FALSE, CONFIDENCE = "false.parquet", "confidence"
TRIPLES, TERMS = 1 << 20, 1 << 17  # rows of a group, which is copied before it is written


def write(
    folder: Path,
    entities: pa.Table,
    relations: pa.Table,
    splits: Mapping[str, np.ndarray],
    confidence: np.ndarray | None,
    info: Mapping[str, Any],
) -> None:
    """Write a graph; the same graph gives the same bytes.

    ``splits`` has the triples ``[T, 3]`` of SPLITS and those that are known to be ``false``; ``confidence`` ``[T]`` is
    of train (None: 1).
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in (("entities", entities), ("relations", relations)):
        with pq.ParquetWriter(folder / f"{name}.parquet", table.schema) as writer:
            for start in range(0, max(1, len(table)), TERMS):
                writer.write_table(table[start : start + TERMS].combine_chunks())
                release_unused()
    for name in SPLITS:
        _write_triples(splits[name], confidence if name == "train" else None, folder / f"{name}.parquet")
    if len(splits["false"]):
        _write_triples(splits["false"], None, folder / FALSE)
    write_json(folder / "graph.json", dict(info))


def terms(keys: Sequence[str], names: Sequence[str]) -> pa.Table:
    """The table of relations, and the first columns of that of entities."""
    return pa.table({"key": _arrow(keys, pa.string()), "name": _arrow(names, pa.string())})


def entities(terms: pa.Table, types: Sequence[str] | None, contents: Mapping[str, Contents]) -> pa.Table:
    """The table of entities: their terms, types and contents; a modality that is not there is empty."""
    columns = {"type": _arrow(types or Same(None, len(terms)), pa.string())}
    for name, modality in MODALITIES.items():
        content = contents.get(name) or Same(modality.nothing, len(terms))
        columns[modality.stored] = _arrow(content, modality.arrow)
    for name, column in columns.items():
        terms = terms.append_column(name, column)
    return terms


def _arrow(values: Sequence[Any], kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, Strings):
        return values.array
    if isinstance(values, Same):  # all chunks are one
        chunk = pa.array([values.value] * min(TERMS, len(values)), kind)
        whole, rest = divmod(len(values), TERMS)
        return pa.chunked_array([chunk] * whole + [chunk[:rest]], kind)
    return pa.array(values, kind)


def _write_triples(triples: np.ndarray, confidence: np.ndarray | None, path: Path) -> None:
    schema = pa.schema([(part, pa.int32()) for part in PARTS])
    if confidence is not None:
        schema = schema.append(pa.field(CONFIDENCE, pa.float32()))
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, max(1, len(triples)), TRIPLES):
            rows = slice(start, start + TRIPLES)
            columns = list(np.ascontiguousarray(triples[rows].T, np.int32))
            if confidence is not None:
                columns.append(confidence[rows].astype(np.float32))
            writer.write_table(pa.table(columns, schema=schema))
            release_unused()
