"""Slices of the test queries, for metrics by relation, category, degree and modality."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.evaluation.metrics import QueryRanks, Ties, metrics_by_side
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.model import Model

Labels = NDArray[np.object_]
DEGREES = (0, 1, 3, 10, 30, 100)


def relation_categories(train: Tensor, n_entities: int, n_relations: int) -> list[str]:
    """Category of every relation by Bordes et al. 2013: a side is N above 1.5 answers a query on average.

    ``1-N`` means that a head has many tails. A relation without training triples is ``1-1``.
    """
    triples = KnownTriples(train, n_entities, n_relations).triples  # each once
    heads_per_tail, tails_per_head = (_mean_answers(triples, given, n_relations) for given in (TAIL, HEAD))
    return [
        f"{'N' if heads > 1.5 else '1'}-{'N' if tails > 1.5 else '1'}"
        for heads, tails in zip(heads_per_tail, tails_per_head, strict=True)
    ]


def _mean_answers(triples: Tensor, given: int, n_relations: int) -> list[float]:
    """Mean number of answers of a query ``(given entity, relation)`` in distinct triples, by relation."""
    queries = torch.unique(triples[:, given] * n_relations + triples[:, RELATION])
    answers, asked = (torch.bincount(r, minlength=n_relations) for r in (triples[:, RELATION], queries % n_relations))
    return (answers / asked.clamp(min=1)).tolist()


def entity_masks(mmkg: MMKG, model: Model) -> dict[str, Tensor]:
    """Masks of the entities with content of each modality, ``{modality: bool [N]}``.

    Only entities whose features the model received count: a missing-modality study trains on fewer. If the graph has
    no content of a modality but the model has features (imported ones), the model's mask is used.
    """
    given = {modality: torch.tensor(mmkg.has(modality)) for modality in MODALITIES}
    used = {m: model.entities.raw(m).mask for m in model.entities.modalities if m != STRUCTURE}
    everyone = torch.ones(len(mmkg.graph.entities), dtype=torch.bool)
    return {
        m: given[m] & used.get(m, everyone) if given[m].any() else used[m] for m in given if given[m].any() or m in used
    }


def modality_labels(masks: dict[str, Tensor], n_entities: int) -> Labels:
    """Modalities of every entity besides structure: ``textual + visual``, … or ``structure only``."""
    has = {modality: mask.tolist() for modality, mask in masks.items()}
    present = ([modality for modality, mask in has.items() if mask[entity]] for entity in range(n_entities))
    return np.array([" + ".join(names) or "structure only" for names in present], dtype=object)


def degree_labels(degrees: NDArray[np.int64]) -> Labels:
    """Degree ranges ``0``, ``1``, ``2–3``, ``4–10``, …, ``101+``."""
    return np.array(degree_names(), dtype=object)[np.searchsorted(DEGREES, degrees)]


def degree_names() -> list[str]:
    """Names of the degree ranges, from low to high."""
    lows = [0, *(bound + 1 for bound in DEGREES)]
    names = [f"{low}–{high}" if low < high else str(high) for low, high in zip(lows, DEGREES, strict=False)]
    return [*names, f"{lows[-1]}+"]


def by_relation(rows: Iterable[dict[str, Any]], without_self: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    """The slices ``rows`` by relation, a symmetric one twice: by the protocol, and without the query's own entity.

    A model of a symmetric relation ranks that entity first, so that Hits@1 is nearly 0 by the protocol.
    """
    own = {row["value"]: row for row in without_self["relations"]} if without_self else {}
    for row in rows:
        yield row
        if other := own.get(row["value"]):
            yield other | {"value": f"{row['value']}, own entity left out"}


def in_order(kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a slice in display order: degrees ascending, others unchanged, largest first."""
    order = degree_names()
    return sorted(rows, key=lambda row: order.index(row["value"])) if kind == "answer degree" else rows


def query_kinds(queries: QueryRanks, triples: Tensor, graph: Graph, masks: dict[str, Tensor]) -> dict[str, Labels]:
    """Labels ``[Q]`` of every query: relation, category, and the answer's modalities, degree and unseen entities.

    Degrees and categories are those of the training triples. ``unseen``: which entities have no train triples.
    """
    rows = triples.numpy()[queries.triple]
    tails_asked = queries.side == "tail"
    answer = np.where(tails_asked, rows[:, TAIL], rows[:, HEAD])
    given = np.where(tails_asked, rows[:, HEAD], rows[:, TAIL])
    degree = np.bincount(graph.train[:, [HEAD, TAIL]].flatten().numpy(), minlength=len(graph.entities))
    categories = np.array(relation_categories(graph.train, len(graph.entities), len(graph.relations)), dtype=object)
    unseen = np.array(["none", "answer", "given entity", "both"], dtype=object)
    return {
        "relation": np.array(graph.relations.names, dtype=object)[rows[:, RELATION]],
        "category": categories[rows[:, RELATION]],
        "answer degree": degree_labels(degree[answer]),
        "answer modalities": modality_labels(masks, len(graph.entities))[answer],
        "unseen": unseen[(degree[answer] == 0) + 2 * (degree[given] == 0)],
    }


def slice_metrics(
    queries: QueryRanks, kinds: dict[str, Labels], ks: Sequence[int], ties: Ties
) -> dict[str, list[dict[str, Any]]]:
    """Metrics of every value of every kind: ``{kind: [{value, queries, both: {…}, head: {…}, tail: {…}}]}``.

    Values are sorted by their number of queries, largest first.
    """
    return {kind: _metrics_by_value(queries, labels, ks, ties) for kind, labels in kinds.items()}


def _metrics_by_value(queries: QueryRanks, labels: Labels, ks: Sequence[int], ties: Ties) -> list[dict[str, Any]]:
    values, inverse = np.unique(labels.astype(str), return_inverse=True)
    sizes = np.bincount(inverse)
    return [
        {
            "value": str(values[index]),
            "queries": int(sizes[index]),
            **metrics_by_side(queries.where(inverse == index), ks, ties),
        }
        for index in np.argsort(-sizes, kind="stable")
    ]
