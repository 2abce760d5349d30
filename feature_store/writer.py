"""Writing of vectors: only missing ones are added, and they become visible all at once."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from mmkgc.components.runtime import digests
from mmkgc.feature_store.catalog import repair
from mmkgc.feature_store.manifest import File, Manifest, digest_of, file_name, manifest_path, pointer_to
from mmkgc.feature_store.parts import MISSING, Row, is_whole, store_part
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored

PART_ROWS = 512
TEXT = pa.string()
ENTITY_SCHEMA = pa.schema([("key", TEXT), ("content", TEXT), ("images", pa.int32()), ("status", TEXT), ("error", TEXT)])


class Entity(NamedTuple):
    """An entity and the digest of its content; ``None`` where it has none, with the reason."""

    key: str
    content: str | None
    reason: str = ""


class FeatureWriter:
    """Writes the vectors of one spec to a store.

    Parts are stored when they are full and named by their bytes. Parts left by a killed writer are in no manifest:
    readers do not see them, and the next writer of the same spec reuses their vectors.
    """

    def __init__(self, spec: FeatureSpec, storage: Storage) -> None:
        self.spec, self.storage = spec, storage
        self._buffer: list[Row] = []

    def committed(self, entities: Sequence[Entity]) -> Stored | None:
        """The existing manifest of these entities, if it and all its files are intact."""
        pointer = self._pointer(made_from(entities))
        try:
            path = manifest_path(pointer, self.storage)
        except FileNotFoundError:
            return None
        if path and repair(uri := self.storage.uri(path), self.storage):
            return Stored(uri, digest_of(uri))
        self.storage.delete(pointer)
        return None

    def known(self) -> set[str]:
        """Contents whose vectors or failures are already stored."""
        return set(self._stored(["content"])["content"].to_pylist())

    def add(self, rows: Iterable[Row]) -> None:
        """Store rows in parts; the content of each row must not be known yet."""
        for row in rows:
            self._buffer.append(row)
            if len(self._buffer) == PART_ROWS:
                self._flush()
        self._flush()

    def commit(self, entities: Sequence[Entity], provenance: dict[str, Any] | None = None) -> Stored:
        """Write the manifest of these entities; all their contents must be stored.

        If several writers commit the same entities at once, all get the manifest of the first.
        """
        stored = self._stored(["content", "images", "status", "error"])
        found = _rows_of(entities, stored)
        table = _entity_table(entities, found)
        manifest = Manifest(
            modality=self.spec.modality,
            dtype=self.spec.dtype,
            encoder=self.spec.encoder,
            made_from=made_from(entities),
            entities=self._store_entities(table),
            parts=self._files({row["part"] for row in found} - {None}, Counter(stored["part"].to_pylist())),
            counts=dict(sorted(Counter(table["status"].to_pylist()).items())),
            provenance=provenance or {},
        )
        mine = manifest.store(self.storage)
        if self.storage.create(self._pointer(manifest.made_from), pointer_to(mine.digest)):
            return mine
        return self.committed(entities) or mine

    def _flush(self) -> None:
        if self._buffer:
            store_part(self._buffer, self.spec, self.storage)
            self._buffer = []

    def _stored(self, columns: list[str]) -> pa.Table:
        """The given columns of all intact parts, and the name of each row's part."""
        try:
            table = self._read([*columns, "__filename"])
        except (pa.ArrowInvalid, OSError):
            for file in self.storage.files(f"{self.spec.folder}/part-"):
                is_whole(File(name=_name(file.path), bytes=file.bytes, rows=0), self.spec, self.storage)
            table = self._read([*columns, "__filename"])
        names = pc.replace_substring_regex(table["__filename"], r"^.*/", "")
        return table.drop_columns("__filename").append_column("part", names)

    def _read(self, columns: list[str]) -> pa.Table:
        paths = sorted(file.path for file in self.storage.files(f"{self.spec.folder}/part-"))
        return ds.dataset(paths, self.spec.schema, "parquet", self.storage.filesystem).to_table(columns=columns)

    def _store_entities(self, table: pa.Table) -> File:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        name = file_name("entities", data)
        self.storage.write(f"{self.spec.folder}/{name}", data)
        return File(name=name, bytes=len(data), rows=len(table))

    def _files(self, names: set[str], rows: Mapping[str, int]) -> tuple[File, ...]:
        sizes = {_name(file.path): file.bytes for file in self.storage.files(f"{self.spec.folder}/part-")}
        return tuple(File(name=name, bytes=sizes[name], rows=rows[name]) for name in sorted(names))

    def _pointer(self, request: str) -> str:
        return f"{self.spec.folder}/commit-{request}.json"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def made_from(entities: Sequence[Entity]) -> str:
    """Digest of the pairs (key, content), which identifies the request of a manifest."""
    return digests.of_json([[entity.key, entity.content] for entity in entities])


def _rows_of(entities: Sequence[Entity], stored: pa.Table) -> list[dict[str, Any]]:
    """Status and part of each entity's content; the first part if several have it."""
    rows: dict[str, dict[str, Any]] = {}
    for row in stored.to_pylist():
        rows.setdefault(row["content"], row)
    absent = {"images": 0, "status": MISSING, "part": None}
    return [rows[entity.content] if entity.content else absent | {"error": entity.reason} for entity in entities]


def _entity_table(entities: Sequence[Entity], found: Sequence[dict[str, Any]]) -> pa.Table:
    keys, contents = [entity.key for entity in entities], [entity.content for entity in entities]
    columns = [[row[name] for row in found] for name in ("images", "status", "error")]
    return pa.table([keys, contents, *columns], schema=ENTITY_SCHEMA)
