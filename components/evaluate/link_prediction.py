"""Filtered link prediction on the test split: ranks, metrics, slices, intervals and baseline."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.slices import Labels, query_kinds, slice_metrics
from mmkgc.components.kge.evaluation.baseline import NearestContent, RelationPopularity
from mmkgc.components.kge.evaluation.bootstrap import metric_intervals
from mmkgc.components.kge.evaluation.metrics import TIES, QueryRanks, Ties, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.runtime.progress import track

PROTOCOLS: dict[str, tuple[Ties, str]] = {
    "realistic": ("realistic", "filtered, both directions, ties at their mean rank"),
    "openke": (
        "optimistic",
        "OpenKE protocol of the MANS, AdaMF and DHNS papers, only for comparison with their numbers: filtered, both "
        "directions, ties count for the model",
    ),
}


@dataclass(frozen=True)
class LinkPrediction:
    """Ranks of the test queries, their slices, and the metrics computed from them (JSON)."""

    queries: QueryRanks
    kinds: dict[str, Labels]
    summary: dict[str, Any]


def link_prediction(
    model: Scorer, graph: Graph, masks: dict[str, Tensor], texts: Features | None, config: EvaluateConfig
) -> LinkPrediction:
    """Rank every test triple in both directions; raises ``NotFinite`` for NaN or infinite scores.

    ``texts``: the features for the nearest-text baseline; None: without it.
    """
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    progress = partial(track, description="rank", unit="batch")
    queries = QueryRanks.of(rank(model, graph.test, known, config.batch_size, progress))
    kinds = query_kinds(queries, graph.test, graph, masks)
    ties, label = PROTOCOLS[config.protocol]

    def baseline(name: str, scorer: Scorer) -> dict[str, Any]:
        ranks = QueryRanks.of(rank(scorer, graph.test, known, config.batch_size))
        return {"name": name, **metrics_by_side(ranks, config.hits, ties)}

    summary = {
        "protocol": {"name": config.protocol, "ties": ties, "label": label},
        "queries": len(queries),
        "metrics": {counted: metrics_by_side(queries, config.hits, counted) for counted in TIES},
        "tie_gap": float((queries.pessimistic - queries.optimistic).mean()),
        "confidence": config.confidence,
        "intervals": metric_intervals(queries, config.hits, ties, config.bootstrap, config.confidence, config.seed),
        "baseline": baseline("relation popularity", RelationPopularity(graph)),
        "nearest": baseline("nearest text", NearestContent(graph, texts)) if texts else None,
        "slices": slice_metrics(queries, kinds, config.hits, ties),
    }
    return LinkPrediction(queries, kinds, summary)


def write_queries(prediction: LinkPrediction, graph: Graph, path: Path) -> None:
    """Write one row per query: keys, asked side, ranks and slices."""
    queries = prediction.queries
    rows = graph.test.numpy()[queries.triple]
    entities, relations = np.array(graph.entities.keys), np.array(graph.relations.keys)
    keys = {"head": entities[rows[:, HEAD]], "relation": relations[rows[:, RELATION]], "tail": entities[rows[:, TAIL]]}
    kinds = {kind: labels.astype(str) for kind, labels in prediction.kinds.items() if kind not in keys}
    columns: dict[str, NDArray] = {"asked": queries.side, **keys, **kinds}
    words = {name: pa.array(values).dictionary_encode() for name, values in columns.items()}
    ranks: dict[str, NDArray] = {name: queries.at(name) for name in TIES}
    table: dict[str, Any] = {"triple": queries.triple, **words, **ranks, "candidates": queries.candidates}
    pq.write_table(pa.table(table), path)
