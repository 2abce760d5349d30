import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from mmkgc.components.kge.evaluation.calibration import (
    PlausibleNegatives,
    calibrate,
    fit_isotonic,
    fit_platt,
    probability,
)
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples


def sample(size=4000, slope=1.7, intercept=-0.4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = 3 * torch.randn(size, generator=generator, dtype=torch.float64) - 20
    truth = torch.sigmoid(slope * (scores + 20) + intercept)
    return scores, (torch.rand(size, generator=generator, dtype=torch.float64) < truth).double(), truth


def test_platt_equals_sklearn_without_a_penalty():
    scores, labels, _ = sample()
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(scores[:, None] + 20, labels)
    ours = fit_platt(scores, labels)
    assert ours["slope"] == pytest.approx(theirs.coef_[0, 0], rel=2e-2)  # Platt's targets are smoothed


def test_platt_finds_the_probabilities_back():
    scores, labels, truth = sample(size=20_000)
    assert (probability(fit_platt(scores, labels), scores) - truth).abs().max() < 0.03


def test_platt_stays_finite_on_separable_scores():
    scores, labels = torch.tensor([1.0, 2, 3, 4]).double(), torch.tensor([0.0, 0, 1, 1]).double()
    fitted = fit_platt(scores, labels)
    assert 0 < fitted["slope"] < 100
    assert (probability(fitted, scores).diff() > 0).all()


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_isotonic_equals_sklearn(pairs):
    scores, labels = (torch.tensor(column).double() for column in zip(*pairs, strict=True))
    fitted = fit_isotonic(scores, labels)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores.numpy(), labels.numpy())
    asked = torch.linspace(-6, 6, 49)
    np.testing.assert_allclose(probability(fitted, asked).numpy(), theirs.predict(asked.numpy()), atol=1e-9)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibration_reads_no_test_triple_and_is_monotone(toy_mmkg, toy_bundle, method):
    graph = toy_mmkg.graph
    fitted = calibrate(toy_bundle.model, graph.train, graph.valid, len(graph.entities), len(graph.relations), method, 0)
    assert fitted["pairs"] == len(graph.valid)
    probabilities = probability(fitted, torch.linspace(-30, 30, 100))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (probabilities.diff() >= 0).all()


def test_negatives_fill_a_slot_that_they_have_in_train():
    train = torch.tensor([[0, 0, 5], [1, 0, 6], [2, 0, 7], [3, 1, 8]])
    source = PlausibleNegatives(train, 10, 2)
    triples = train[:3].repeat(50, 1)
    positives, negatives = source.pair(triples, KnownTriples(train, 10, 2), seed=0)
    assert torch.equal(positives, triples)
    assert torch.equal(negatives[:, RELATION], triples[:, RELATION])
    assert set(negatives[:, HEAD].tolist()) == {0, 1, 2}
    assert set(negatives[:, TAIL].tolist()) == {5, 6, 7}
    assert ((negatives != triples).sum(1) == 1).all()
    changed_heads = (negatives[:, HEAD] != triples[:, HEAD]).float().mean()
    assert 0.35 < changed_heads < 0.65


def test_a_triple_without_any_unknown_corruption_has_no_negative():
    everything = torch.cartesian_prod(torch.arange(2), torch.arange(1), torch.arange(2))
    positives, negatives = PlausibleNegatives(everything, 2, 1).pair(everything, KnownTriples(everything, 2, 1), seed=0)
    assert len(positives) == len(negatives) == 0
