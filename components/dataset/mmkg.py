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

from mmkgc.components.dataset import tables
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Contents, Modality
from mmkgc.components.dataset.tables import CONFIDENCE, FALSE, SPLITS
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.files import read_json


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
        graph = self.graph
        words, relations = (tables.terms(each.keys, each.names) for each in (graph.entities, graph.relations))
        splits = {name: getattr(graph, name).numpy() for name in (*SPLITS, "false")}
        confidence = None if graph.confidence is None else graph.confidence.numpy()
        entities = tables.entities(words, graph.types, self.contents)
        tables.write(folder, entities, relations, splits, confidence, self.info)

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


def _feedback(folder: Path) -> dict[str, Tensor]:
    """Triples known to be false, and the confidence of train, as far as the graph has them."""
    found = {"false": _triples(pq.read_table(folder / FALSE))} if (folder / FALSE).exists() else {}
    train = pq.read_schema(folder / "train.parquet")
    if CONFIDENCE in train.names:
        column = pq.read_table(folder / "train.parquet", columns=[CONFIDENCE])[CONFIDENCE]
        found["confidence"] = torch.from_numpy(column.to_numpy().copy())
    return found


def _contents(table: pa.Table, modality: Modality) -> Contents:
    values = table[modality.stored].to_pylist()
    return tuple(tuple(value) if isinstance(value, list) else value for value in values)


def _strings(table: pa.Table, column: str) -> tuple:
    return tuple(table[column].to_pylist())


def _triples(table: pa.Table) -> Tensor:
    return torch.from_numpy(np.stack([column.to_numpy() for column in table.columns[:3]], axis=1).astype(np.int64))
