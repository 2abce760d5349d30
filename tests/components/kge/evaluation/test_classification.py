from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from mmkgc.components.kge.evaluation.classification import (
    RARE,
    LabelledSplits,
    LabelledTriples,
    best_threshold,
    classification_metrics,
    classify,
    labelled_splits,
    relation_thresholds,
)
from mmkgc.components.kge.graph import RELATION, Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig

labels_and_scores = st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=30)


@given(labels_and_scores)
@settings(max_examples=60, deadline=None)
def test_metrics_equal_sklearn(pairs):
    labels, scores = (torch.tensor(column) for column in zip(*pairs, strict=True))
    predicted = scores >= 1
    ours = classification_metrics(predicted, labels)
    theirs = {"precision": precision_score, "recall": recall_score, "f1": f1_score}
    assert ours["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    for name, score in theirs.items():
        assert ours[name] == pytest.approx(score(labels, predicted, zero_division=0))


@given(labels_and_scores)
@settings(max_examples=60, deadline=None)
def test_no_threshold_is_more_accurate(pairs):
    labels, scores = (torch.tensor(column) for column in zip(*pairs, strict=True))
    scores = scores.double()

    def accuracy(threshold):
        return ((scores >= threshold) == labels).double().mean()

    rivals = [*scores.tolist(), float("inf")]
    assert accuracy(best_threshold(scores, labels)) >= max(accuracy(threshold) for threshold in rivals)


def labelled(relations, scores, labels):
    triples = torch.zeros(len(relations), 3, dtype=torch.long)
    triples[:, RELATION] = torch.tensor(relations)
    return LabelledTriples(triples, torch.tensor(labels), torch.tensor(scores, dtype=torch.float64))


def test_rare_relations_use_the_threshold_of_all():
    many = [1, 0] * RARE
    valid = labelled([0] * len(many) + [1], [float(x) for x in many] + [9.0], [bool(x) for x in many] + [False])
    thresholds = relation_thresholds(valid, 3)
    assert thresholds[0] == 0.5
    assert thresholds[1] == thresholds[2] == best_threshold(valid.scores, valid.labels)


def test_a_threshold_on_test_finds_accuracy_in_noise():
    rng = np.random.default_rng(0)
    size, found = 60, []
    for _ in range(20):
        valid, test = (labelled([0] * size, rng.normal(size=size), rng.permutation(size) < size // 2) for _ in range(2))
        splits = LabelledSplits(valid, test, test)
        found.append([scores["accuracy"] for scores in classify(splits, 1).values()])
    standard, mans = np.mean(found, axis=0)
    assert abs(standard - 0.5) < 0.04
    assert mans > 0.54


def test_negatives_are_seeded_unknown_and_of_the_right_kind(toy_mmkg, toy_bundle):
    graph = toy_mmkg.graph
    splits = labelled_splits(toy_bundle.model, graph, seed=3)
    valid, test = splits.valid, splits.test
    again = labelled_splits(toy_bundle.model, graph, seed=3)
    assert torch.equal(test.triples, again.test.triples)
    assert not torch.equal(test.triples, labelled_splits(toy_bundle.model, graph, seed=4).test.triples)
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    assert not known.contains(test.triples[~test.labels]).any()
    assert test.labels.sum() == (~test.labels).sum() == len(graph.test)
    seen = KnownTriples(torch.cat([graph.train, graph.valid]), len(graph.entities), len(graph.relations))
    assert not seen.contains(valid.triples[~valid.labels]).any()


def test_the_mans_protocol_has_uniform_corruptions():
    """Plausible negatives have been seen in their slot of their relation; of uniform ones most have not."""
    entities, capitals = 40, 4
    triples = torch.tensor([[country, 0, country % capitals] for country in range(capitals, entities)])
    names = tuple(map(str, range(entities)))
    graph = Graph(Vocabulary(names, names), Vocabulary(("r",), ("r",)), triples, triples[:0], triples)
    model = Model(ModelConfig(dimension=4, fusion="structure"), 1, {}, torch.ones(entities, dtype=torch.bool)).eval()
    splits = labelled_splits(model, replace(graph, train=triples[:18], test=triples[18:]), seed=3)
    plausible, uniform = (_share_of_capitals_as_tails(part, capitals) for part in (splits.test, splits.mans))
    assert plausible == 1
    assert uniform < 0.7


def _share_of_capitals_as_tails(labelled, capitals):
    return (labelled.triples[~labelled.labels][:, 2] < capitals).double().mean().item()
