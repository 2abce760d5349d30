"""The checked multi-modal knowledge graph, the output of ingest: Parquet tables and one JSON file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Contents, Modality
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.files import read_json, write_json

SPLITS = ("train", "valid", "test", "known")
FALSE, CONFIDENCE = "false.parquet", "confidence"


@dataclass(frozen=True)
class MMKG:
    """A graph with the contents of its entities' modalities.

    ``contents`` by modality, one per entity in vocabulary order: a text, digests of blobs in the store, … (see
    ``mmkgc.components.dataset.modalities``). ``info`` is JSON: name, source, licence, counts, notes and warnings for
    the user, leakage, and digests of the source files.
    """

    graph: Graph
    contents: Mapping[str, Contents]
    info: dict[str, Any] = field(default_factory=dict)

    def content(self, modality: str) -> Contents:
        """Content of each entity; empty contents if the graph lacks the modality."""
        return self.contents.get(modality) or (MODALITIES[modality].nothing,) * len(self.graph.entities)

    def has(self, modality: str) -> list[bool]:
        """Which entities have content of the modality."""
        return [bool(content) for content in self.content(modality)]

    def save(self, folder: Path) -> None:
        """Write the graph into ``folder``; the same graph gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(self._entities(), folder / "entities.parquet")
        pq.write_table(_vocabulary(self.graph.relations), folder / "relations.parquet")
        for split in SPLITS:
            table = _table(getattr(self.graph, split))
            if split == "train" and self.graph.confidence is not None:
                table = table.append_column(CONFIDENCE, pa.array(self.graph.confidence.numpy(), pa.float32()))
            pq.write_table(table, folder / f"{split}.parquet")
        if len(self.graph.false):
            pq.write_table(_table(self.graph.false), folder / FALSE)
        write_json(folder / "graph.json", self.info)

    @classmethod
    def load(cls, folder: Path) -> "MMKG":
        """Read what ``save`` wrote."""
        entities = pq.read_table(folder / "entities.parquet")
        relations = pq.read_table(folder / "relations.parquet")
        typed = entities["type"].null_count < len(entities)
        graph = Graph(
            entities=Vocabulary(_strings(entities, "key"), _strings(entities, "name")),
            relations=Vocabulary(_strings(relations, "key"), _strings(relations, "name")),
            types=_strings(entities, "type") if typed else None,
            **{split: _triples(pq.read_table(folder / f"{split}.parquet")) for split in SPLITS},
            **_feedback(folder),
        )
        return cls(
            graph=graph,
            contents={
                name: _contents(entities, modality)
                for name, modality in MODALITIES.items()
                if modality.stored in entities.column_names  # graphs of older versions have fewer modalities
            },
            info=read_json(folder / "graph.json"),
        )

    def _entities(self) -> pa.Table:
        types = self.graph.types or [None] * len(self.graph.entities)
        table = _vocabulary(self.graph.entities).append_column("type", pa.array(types, pa.string()))
        for name, modality in MODALITIES.items():
            table = table.append_column(modality.stored, pa.array(self.content(name), modality.arrow))
        return table


def _feedback(folder: Path) -> dict[str, Tensor]:
    """Triples known to be false, and the confidence of train, as far as the graph has them."""
    found = {"false": _triples(pq.read_table(folder / FALSE))} if (folder / FALSE).exists() else {}
    train = pq.read_schema(folder / "train.parquet")
    if CONFIDENCE in train.names:
        column = pq.read_table(folder / "train.parquet", columns=[CONFIDENCE])[CONFIDENCE]
        found["confidence"] = torch.from_numpy(column.to_numpy().copy())
    return found


def _vocabulary(vocabulary: Vocabulary) -> pa.Table:
    return pa.table({"key": pa.array(vocabulary.keys, pa.string()), "name": pa.array(vocabulary.names, pa.string())})


def _contents(table: pa.Table, modality: Modality) -> Contents:
    values = table[modality.stored].to_pylist()
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _strings(table: pa.Table, column: str) -> tuple:
    return tuple(table[column].to_pylist())


def _table(triples: Tensor) -> pa.Table:
    columns = triples.to(torch.int32).numpy().T
    return pa.table(
        {name: np.ascontiguousarray(ids) for name, ids in zip(("head", "relation", "tail"), columns, strict=True)}
    )


def _triples(table: pa.Table) -> Tensor:
    return torch.from_numpy(np.stack([column.to_numpy() for column in table.columns[:3]], axis=1).astype(np.int64))
