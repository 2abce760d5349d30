import numpy as np
import torch

from mmkgc.components.evaluate.slices import (
    degree_labels,
    modality_labels,
    query_kinds,
    relation_categories,
    slice_metrics,
)
from mmkgc.components.kge.evaluation.metrics import QueryRanks, metrics_by_side
from mmkgc.components.kge.graph import Graph, Vocabulary

TRAIN = torch.tensor(
    [
        *[[0, 0, 1], [2, 0, 3]],  # one to one
        *[[0, 1, 1], [0, 1, 2], [0, 1, 3]],  # one head, many tails
        *[[1, 2, 0], [2, 2, 0], [3, 2, 0]],  # many heads, one tail
        *[[a, 3, b] for a in (0, 1) for b in (2, 3)],
    ]
)


def graph_of(train, entities=6, relations=5, **splits):
    entity_names, relation_names = (
        tuple(f"{kind}{i}" for i in range(n)) for kind, n in (("e", entities), ("r", relations))
    )
    empty = train[:0]
    given = {"valid": empty, "test": empty} | splits
    return Graph(
        Vocabulary(entity_names, entity_names), Vocabulary(relation_names, relation_names), train=train, **given
    )


def test_relation_categories_are_those_of_bordes():
    assert relation_categories(TRAIN, 6, 5) == ["1-1", "1-N", "N-1", "N-N", "1-1"]


def test_duplicate_triples_do_not_change_a_category():
    assert relation_categories(torch.cat([TRAIN, TRAIN[:1], TRAIN[:1]]), 6, 5)[0] == "1-1"


def test_every_degree_has_one_label():
    labels = degree_labels(np.array([0, 1, 2, 3, 4, 10, 11, 30, 31, 100, 101, 5000]))
    assert list(labels) == ["0", "1", *["2–3"] * 2, *["4–10"] * 2, *["11–30"] * 2, *["31–100"] * 2, *["101+"] * 2]


def test_modalities_are_named():
    masks = {"visual": torch.tensor([True, False, False]), "textual": torch.tensor([True, True, False])}
    assert list(modality_labels(masks, 3)) == ["visual + textual", "textual", "structure only"]


def test_kinds_describe_the_answer_of_each_side():
    graph = graph_of(TRAIN, test=torch.tensor([[0, 1, 4], [5, 0, 4]]))
    queries = ranks(np.array([1.0, 2.0, 3.0, 4.0]))
    masks = {"textual": torch.tensor([False, False, False, False, True, False])}
    kinds = query_kinds(queries, graph.test, graph, masks)
    assert list(kinds["relation"]) == ["r1", "r0", "r1", "r0"]
    assert list(kinds["category"]) == ["1-N", "1-1", "1-N", "1-1"]
    assert list(kinds["answer modalities"]) == ["structure only", "structure only", "textual", "textual"]
    assert list(kinds["answer degree"]) == ["4–10", "0", "0", "0"]
    assert list(kinds["unseen"]) == ["given entity", "both", "answer", "both"]


def test_slices_add_up_to_the_whole():
    graph = graph_of(TRAIN, test=TRAIN)
    rng = np.random.default_rng(0)
    queries = ranks(rng.integers(1, 6, 2 * len(TRAIN)).astype(float))
    kinds = query_kinds(queries, graph.test, graph, {})
    for rows in slice_metrics(queries, kinds, (1,), "realistic").values():
        assert sum(row["queries"] for row in rows) == len(queries)
        mrr = sum(row["queries"] * row["both"]["mrr"] for row in rows) / len(queries)
        assert np.isclose(mrr, metrics_by_side(queries, (1,), "realistic")["both"]["mrr"])
        assert [row["queries"] for row in rows] == sorted((row["queries"] for row in rows), reverse=True)


def ranks(values):
    half = len(values) // 2
    side = np.repeat(["head", "tail"], half)
    return QueryRanks(np.tile(np.arange(half), 2), side, values, values, np.full(len(values), 6))
