"""Filtered link prediction on the test split: ranks, metrics, slices, intervals and baseline."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.slices import Labels, query_kinds, slice_metrics
from mmkgc.components.kge.evaluation.baseline import NearestContent, RelationPopularity
from mmkgc.components.kge.evaluation.bootstrap import metric_intervals
from mmkgc.components.kge.evaluation.metrics import TIES, QueryRanks, Ties, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples, reflexive
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

    mirrored = symmetric(graph)
    own = without_self(model, graph, queries, mirrored, config)
    summary = {
        "protocol": {"name": config.protocol, "ties": ties, "label": label},
        "queries": len(queries),
        "metrics": {counted: metrics_by_side(queries, config.hits, counted) for counted in TIES},
        "without_self": own and _summary_without_self(own, kinds["relation"], graph, mirrored, config.hits, ties),
        "tie_gap": float((queries.pessimistic - queries.optimistic).mean()),
        "confidence": config.confidence,
        "intervals": metric_intervals(queries, config.hits, ties, config.bootstrap, config.confidence, config.seed),
        "baseline": baseline("relation popularity", RelationPopularity(graph)),
        "nearest": baseline("nearest text", NearestContent(graph, texts)) if texts else None,
        "slices": slice_metrics(queries, kinds, config.hits, ties),
    }
    return LinkPrediction(queries, kinds, summary)


def without_self(
    model: Scorer, graph: Graph, queries: QueryRanks, relations: Tensor, config: EvaluateConfig
) -> QueryRanks | None:
    """The ranks if the query's own entity is no candidate of the symmetric ``relations``; None if test has none.

    A relation with loops in the graph keeps it, as in serving.
    """
    chosen = np.isin(graph.test[:, RELATION].numpy(), relations.numpy())
    if not chosen.any():
        return None
    triples = graph.test[torch.from_numpy(chosen)]
    loops = [triples[:, [entity, RELATION, entity]] for entity in (HEAD, TAIL)]
    known = KnownTriples(torch.cat([graph.all_triples, *loops]), len(graph.entities), len(graph.relations))
    ranked = QueryRanks.of(rank(model, triples, known, config.batch_size))
    places = np.tile(chosen, 2)
    changed = {name: getattr(queries, name).copy() for name in ("optimistic", "pessimistic", "candidates")}
    for name, values in changed.items():
        values[places] = getattr(ranked, name)
    return replace(queries, **changed)


def symmetric(graph: Graph) -> Tensor:
    """Relations ``[R']`` without loops of which at least half of the train triples also hold the other way round."""
    train = KnownTriples(graph.train, len(graph.entities), len(graph.relations))
    both_ways = train.contains(train.triples[:, [TAIL, RELATION, HEAD]])
    counted, mirrored = (
        torch.bincount(relations, minlength=len(graph.relations))
        for relations in (train.triples[:, RELATION], train.triples[both_ways, RELATION])
    )
    mostly = ((counted > 0) & (2 * mirrored >= counted)).nonzero().squeeze(1)
    return mostly[~torch.isin(mostly, reflexive(graph.all_triples))]


def _summary_without_self(
    queries: QueryRanks, labels: Labels, graph: Graph, relations: Tensor, hits: Sequence[int], ties: Ties
) -> dict[str, Any]:
    """Metrics of all queries by side, and of each of the symmetric ``relations``."""
    names = {graph.relations.names[relation] for relation in relations.tolist()}
    rows = slice_metrics(queries, {"relation": labels}, hits, ties)["relation"]
    return metrics_by_side(queries, hits, ties) | {"relations": [row for row in rows if row["value"] in names]}


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
