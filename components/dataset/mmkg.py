"""The checked multi-modal knowledge graph, as ingest hands it to every later step: Parquet tables and one JSON file."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.files import read_json, write_json

SPLITS = ("train", "valid", "test", "known")


@dataclass(frozen=True)
class MMKG:
    """A graph with what its entities' modalities are made of, entity by entity in vocabulary order.

    ``descriptions`` are texts or ``None``. ``images`` are SHA-256 digests of blobs in the store, none or several an
    entity. ``info`` is JSON: name, source, licence, counts, notes and warnings for the user, leakage, what it was made
    from.
    """

    graph: Graph
    descriptions: tuple[str | None, ...]
    images: tuple[tuple[str, ...], ...]
    info: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the graph into ``folder``; the same graph gives the same bytes."""
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(self._entities(), folder / "entities.parquet")
        pq.write_table(_vocabulary(self.graph.relations), folder / "relations.parquet")
        for split in SPLITS:
            pq.write_table(_table(getattr(self.graph, split)), folder / f"{split}.parquet")
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
        )
        return cls(
            graph=graph,
            descriptions=_strings(entities, "description"),
            images=tuple(tuple(digests) for digests in entities["images"].to_pylist()),
            info=read_json(folder / "graph.json"),
        )

    def _entities(self) -> pa.Table:
        return (
            _vocabulary(self.graph.entities)
            .append_column("description", pa.array(self.descriptions, pa.string()))
            .append_column("type", pa.array(self.graph.types or [None] * len(self.descriptions), pa.string()))
            .append_column("images", pa.array(self.images, pa.list_(pa.string())))
        )


def _vocabulary(vocabulary: Vocabulary) -> pa.Table:
    return pa.table({"key": pa.array(vocabulary.keys, pa.string()), "name": pa.array(vocabulary.names, pa.string())})


def _strings(table: pa.Table, column: str) -> tuple:
    return tuple(table[column].to_pylist())


def _table(triples: Tensor) -> pa.Table:
    columns = triples.to(torch.int32).numpy().T
    return pa.table(
        {name: np.ascontiguousarray(ids) for name, ids in zip(("head", "relation", "tail"), columns, strict=True)}
    )


def _triples(table: pa.Table) -> Tensor:
    return torch.from_numpy(np.stack([column.to_numpy() for column in table.columns], axis=1).astype(np.int64))
