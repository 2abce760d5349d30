"""Losses against their formulas in plain Python, and regularizers."""

from collections.abc import Callable
from math import exp, log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmkgc.components.kge.batch_loss import all_entity_loss, block_loss, factors
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import AllEntityLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.kge.tensors import total

scores = st.floats(-8, 8)
negatives = st.lists(scores, min_size=1, max_size=5)
BCE = "binary-cross-entropy"


def sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value))


def loss(name: str, positive: float, negative: list[float], **parameters: object) -> float:
    loss = LOSSES.create({"name": name, **parameters})
    tensors = torch.tensor([positive], dtype=torch.float64), torch.tensor([negative], dtype=torch.float64)
    return loss(*tensors).item()  # type: ignore[attr-defined]


@given(positive=scores, negative=negatives, margin=st.floats(0.1, 5))
def test_margin(positive: float, negative: list[float], margin: float) -> None:
    expected = sum(max(0, margin - positive + other) for other in negative) / len(negative)
    assert loss("margin", positive, negative, margin=margin) == pytest.approx(expected, abs=1e-9)


@given(positive=scores, negative=negatives, margin=st.floats(0, 5), alpha=st.floats(0, 2))
def test_self_adversarial(positive: float, negative: list[float], margin: float, alpha: float) -> None:
    weights = [exp(alpha * other) for other in negative]
    of_negatives = sum(w * log(sigmoid(-margin - other)) for w, other in zip(weights, negative, strict=True)) / sum(
        weights
    )
    expected = -(log(sigmoid(margin + positive)) + of_negatives) / 2
    assert loss("self-adversarial", positive, negative, margin=margin, temperature=alpha) == pytest.approx(expected)


@given(positive=scores, negative=st.lists(scores, min_size=2, max_size=2))
def test_hardness_adaptive(positive: float, negative: list[float]) -> None:
    levels = zip((0.5, 0.9), (1.0, 0.25), negative, strict=True)
    expected = -sum(w * (log(sigmoid(6 + positive)) + log(sigmoid(-6 * m - s))) for m, w, s in levels) / 2
    actual = loss("hardness-adaptive", positive, negative, margin=6, margins=(0.5, 0.9), weights=(1.0, 0.25))
    assert actual == pytest.approx(expected)


@given(values=st.lists(scores, min_size=4, max_size=4), gold=st.integers(0, 3))
def test_cross_entropy(values: list[float], gold: int) -> None:
    loss = LOSSES.create("cross-entropy")
    actual = loss(torch.tensor([values], dtype=torch.float64), torch.tensor([gold]))  # type: ignore[attr-defined]
    assert actual.item() == pytest.approx(-log(exp(values[gold]) / sum(map(exp, values))))


@given(values=st.lists(scores, min_size=4, max_size=4), smoothing=st.sampled_from([0.0, 0.1]))
def test_binary_cross_entropy_has_every_known_answer_as_label(values: list[float], smoothing: float) -> None:
    loss = LOSSES.create({"name": "binary-cross-entropy", "label_smoothing": smoothing})
    answers = torch.tensor([0, 0]), torch.tensor([1, 3])
    row = torch.tensor([values], dtype=torch.float64)
    actual = loss(row, torch.tensor([1]), answers)  # type: ignore[attr-defined]
    labels = [(1 - smoothing) * y + (1 / 4 if smoothing else 0) for y in (0, 1, 0, 1)]
    terms = (-y * log(sigmoid(s)) - (1 - y) * log(1 - sigmoid(s)) for y, s in zip(labels, values, strict=True))
    assert actual.item() == pytest.approx(sum(terms) / 4)


def test_a_query_counts_once_however_many_answers_it_has(
    make_model: Callable[..., Model], make_context: Callable[..., Context], graph: Graph
) -> None:
    """Over all train triples the loss is the mean over the distinct queries of each side."""
    model, context = make_model(interaction="distmult", fusion="structure"), make_context(make_model(), BCE)
    triples = torch.unique(graph.train, dim=0)
    assert isinstance(context.loss, AllEntityLoss)
    everything = Batch(triples, torch.ones(len(triples)))
    actual = all_entity_loss(model, model.encode(), everything, context.loss, context.train)
    means = []
    for side, asked in (("tail", [0, 1]), ("head", [2, 1])):
        queries = torch.unique(triples[:, asked], dim=0)
        assert len(queries) < len(triples)
        values = model.score_all(model.encode(), *queries.T, side)  # type: ignore[arg-type]
        means.append(context.loss(values, queries[:, 0], context.train.answers(*queries.T, side)).mean())
    torch.testing.assert_close(actual, sum(means) / 2)


def test_weights_of_positives_and_blocks(make_model: Callable[..., Model], batch: Batch) -> None:
    """Σ wᵢ lossᵢ / Σ w, times the block's weight; rows may come twice."""
    model, loss = make_model(interaction="distmult", fusion="structure"), LOSSES.create("margin")
    weighted = Batch(batch.triples, torch.linspace(0.1, 1, len(batch)))
    rows = torch.tensor([3, 5, 5])
    block = NegativeBlock(rows, tail=EntityNegatives(torch.tensor([[1, 2], [3, 4], [5, 6]])), weight=0.7)
    encoded = model.encode()
    positive, negative = score_blocks(model, encoded, batch.triples, [block])
    losses = loss(positive, negative)  # type: ignore[attr-defined]
    expected = 0.7 * (weighted.weight[rows] * losses).sum() / weighted.weight.sum()
    torch.testing.assert_close(block_loss(model, encoded, weighted, [block], loss)[0], expected)  # type: ignore[arg-type]


def test_an_ensembles_terms_are_trained_apart(make_model: Callable[..., Model], batch: Batch) -> None:
    model, loss = make_model(interaction="distmult", fusion="mose"), LOSSES.create("margin")
    rows = torch.arange(4)
    block = NegativeBlock(rows, tail=EntityNegatives(torch.arange(8).view(4, 2)))
    encoded = model.encode()
    by_hand = []
    for modality in ("structure", "visual", "textual"):
        h, r, t = batch.heads[rows], batch.relations[rows], batch.tails[rows]
        table, relation = encoded.modal[modality], model.relations[modality][r]
        positive = (table[h] * relation * table[t]).sum(-1)
        negative = ((table[h] * relation).unsqueeze(1) * table[torch.arange(8).view(4, 2)]).sum(-1)
        by_hand.append((1 - positive.unsqueeze(1) + negative).relu().mean(1))
    expected = total(by_hand).sum() / len(batch)
    torch.testing.assert_close(block_loss(model, encoded, batch, [block], loss)[0], expected)  # type: ignore[arg-type]


def test_n3_takes_cubes_of_complex_moduli_of_the_batch(make_model: Callable[..., Model], batch: Batch) -> None:
    model = make_model(interaction={"name": "complex", "init": 1}, fusion="structure")
    penalty = REGULARIZERS.create({"name": "n3", "weight": 0.5}).penalty(
        model, factors(model, model.encode(), batch.triples)
    )

    def cubes(vectors: torch.Tensor) -> float:
        return torch.complex(*vectors.chunk(2, dim=-1)).abs().pow(3).sum(-1).mean().item()

    structure, relation = model.entities.structure, model.relations["relation"]
    expected = cubes(structure[batch.heads]) + cubes(relation[batch.relations]) + cubes(structure[batch.tails])
    assert penalty.item() == pytest.approx(0.5 * expected, rel=1e-5)


def test_l3_takes_the_whole_tables(make_model: Callable[..., Model]) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    tables = [model.entities.structure, model.relations["relation"]]
    expected = sum(table.abs().pow(3).sum().item() for table in tables)
    penalty = REGULARIZERS.create({"name": "l3", "weight": 2}).penalty(model, [])
    assert penalty.item() == pytest.approx(2 * expected, rel=1e-5)
