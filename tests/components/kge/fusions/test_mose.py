"""MoSE's ways to put modalities together: fitted on the development split, kept in the bundle."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.model import Model

MakeModel = Callable[..., Model]
fitted = pytest.mark.parametrize("fusion", ["mose-bi", "mose-mi"])
NAMES = ["structure", "textual", "visual"]


def one_modality_knows(triples: Tensor, side: Side) -> list[Tensor]:
    """Relation 0 is known by the first term, relation 1 by the second, others by none; the third misleads."""
    random = torch.Generator().manual_seed(len(side))
    gold = triples[:, 2 if side == "tail" else 0]
    scores = [torch.randn(len(triples), 30, generator=random) for _ in NAMES]
    for term in (0, 1):
        rows = (triples[:, 1] == term).nonzero().squeeze(1)
        scores[term][rows, gold[rows]] += 4
    scores[2][torch.arange(len(triples)), gold] -= 2
    return scores


@fitted
def test_before_it_is_fitted_it_is_the_average(fusion: str, make_model: MakeModel, graph: Graph) -> None:
    models = [make_model(fusion=name, interaction="complex").eval() for name in ("mose", fusion)]
    models[1].load_state_dict(models[0].state_dict(), strict=False)
    torch.testing.assert_close(*(model.score_triples(graph.test) for model in models))


def test_boosting_trusts_the_modality_that_knows_the_relation(make_model: MakeModel, graph: Graph) -> None:
    fusion: Any = make_model(fusion={"name": "mose-bi", "least": 2}).eval().fusion
    triples = graph.train[graph.train[:, 1] < 2]
    fusion.fit(one_modality_knows, triples)
    assert fusion.weights[0].argmax() == 0
    assert fusion.weights[1].argmax() == 1
    assert fusion.weights[:, 2].max() < 0.1
    torch.testing.assert_close(fusion.weights.sum(1), torch.ones(3))
    alone: Any = make_model(fusion={"name": "mose-bi", "least": 10_000}).eval().fusion
    alone.fit(one_modality_knows, triples)
    torch.testing.assert_close(alone.weights[0], alone.weights[2])  # both those of all relations together


def test_a_round_of_boosting_is_the_formula() -> None:
    from mmkgc.components.kge.fusions.mose_bi import _boosted

    gaps = [[[0.5, 0.2], [-0.5, 0.4]], [[1.0, -1.0], [0.2, 0.6]]]  # two queries, two other entities, two modalities
    pairs = [[0.25, 0.25], [0.25, 0.25]]
    weights = [0.0, 0.0]
    for _ in range(3):
        mean = [sum(pairs[q][c] * gaps[q][c][m] for q in (0, 1) for c in (0, 1)) for m in (0, 1)]
        best = mean.index(max(mean))
        step = 0.5 * math.log((1 + max(0, mean[best])) / (1 - max(0, mean[best])))
        weights[best] += step
        pairs = [[pairs[q][c] * math.exp(-step * gaps[q][c][best]) for c in (0, 1)] for q in (0, 1)]
        norm = sum(map(sum, pairs))
        pairs = [[value / norm for value in row] for row in pairs]
    found = _boosted(torch.tensor(gaps, dtype=torch.float64), torch.zeros(2, dtype=torch.long), 1, 3)
    assert found[0].tolist() == pytest.approx(weights)


def test_the_meta_learner_ranks_answers_better_than_the_average(make_model: MakeModel, graph: Graph) -> None:
    fusion: Any = make_model(fusion="mose-mi").eval().fusion
    fusion.fit(one_modality_knows, graph.train)
    for side in ("tail", "head"):
        scores = one_modality_knows(graph.valid, side)
        relations = graph.valid[:, 1:2]
        gold = graph.valid[:, 2 if side == "tail" else 0]
        rows = torch.arange(len(gold))
        learned = fusion.combine(fusion.terms, scores, relations).log_softmax(1)[rows, gold].mean()
        average = torch.stack(scores).mean(0).log_softmax(1)[rows, gold].mean()
        assert learned > average + 0.3


@fitted
@pytest.mark.parametrize("reciprocal", [False, True])
def test_all_ways_to_ask_agree_once_it_is_fitted_and_a_bundle_keeps_it(
    fusion: str, reciprocal: bool, make_model: MakeModel, graph: Graph, tmp_path: Path
) -> None:
    model = make_model(fusion=fusion, interaction={"name": "complex", "init": 1}, reciprocal=reciprocal).eval()
    average = model.score_triples(graph.test)
    model.fusion.fit(one_modality_knows, graph.train)
    heads, relations, tails = graph.test[:6].unbind(1)
    scores = model.score_triples(graph.test)
    assert not torch.allclose(scores, average)
    rows = torch.arange(6)
    forward = model.score_tails(heads, relations)[rows, tails]
    backward = model.score_heads(relations, tails)[rows, heads]
    torch.testing.assert_close((forward + backward) / 2, scores[:6])
    Bundle.of(model, graph).save(tmp_path / "bundle")
    torch.testing.assert_close(Bundle.load(tmp_path / "bundle").model.score_triples(graph.test), scores)
