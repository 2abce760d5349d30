import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.isotonic import IsotonicRegression

from mmkgc.components.kge.evaluation.answers import Answers
from mmkgc.components.kge.evaluation.calibration import (
    SHRINKAGE,
    calibrate,
    expected_error,
    fit_isotonic,
    fit_platt,
    probability,
)

SLOTS = 6


def sample(size=4000, seed=0):
    """Answers whose probability is known: a slope, a margin, and an intercept of each slot."""
    random = np.random.default_rng(seed)
    slots, scores, margins = random.integers(SLOTS, size=size), random.normal(-20, 3, size), random.normal(0, 2, size)
    truth = 1 / (1 + np.exp(-(1.7 * (scores + 20) + 0.8 * margins - 0.4 + np.linspace(-2, 2, SLOTS)[slots])))
    columns = (slots, scores, margins, random.random(size) < truth, np.zeros(size, bool))
    return Answers(*map(torch.from_numpy, columns)), torch.from_numpy(truth)


def test_platt_equals_a_general_minimiser():
    answers, _ = sample(600)
    right, scale = answers.right.double().numpy(), answers.scores.std(correction=0).item()
    targets = np.where(right > 0, (right.sum() + 1) / (right.sum() + 2), 1 / (len(right) - right.sum() + 2))
    score = (answers.scores.numpy() - answers.scores.mean().item()) / scale
    columns = np.column_stack([score, answers.margins.numpy() / scale, np.ones(len(right))])
    design = np.hstack([columns, np.eye(SLOTS)[answers.slots.numpy()]])

    def loss(weights):
        logits = design @ weights
        return np.logaddexp(0, logits).sum() - targets @ logits + SHRINKAGE / 2 * (weights[3:] ** 2).sum()

    best = minimize(loss, np.zeros(design.shape[1]), method="BFGS", options={"gtol": 1e-6}).x
    ours = fit_platt(answers, SLOTS)
    assert ours["slope"] * scale == pytest.approx(best[0], rel=1e-3)
    assert ours["margin"] * scale == pytest.approx(best[1], rel=1e-3)
    expected = 1 / (1 + np.exp(-design @ best))
    ours = probability({"method": "platt", "answer": ours}, answers.scores, answers.slots, answers.margins)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_platt_finds_the_probabilities_back():
    answers, truth = sample(20_000)
    fitted = {"method": "platt", "answer": fit_platt(answers, SLOTS)}
    found = probability(fitted, answers.scores, answers.slots, answers.margins)
    assert (found - truth).abs().max() < 0.06
    assert expected_error(found, answers.right) < 0.01


def test_platt_stays_finite_on_separable_scores_and_empty_slots():
    scores = torch.tensor([1.0, 2, 3, 4]).double()
    nothing = torch.zeros(4)
    fitted = fit_platt(Answers(nothing.long(), scores, nothing.double(), scores > 2, nothing > 0), 3)
    assert 0 < fitted["slope"] < 100
    assert fitted["intercepts"][1] == fitted["intercepts"][2]
    assert (probability({"method": "platt", "triple": fitted}, scores, nothing.long()).diff() > 0).all()


def test_a_slot_with_few_answers_stays_near_the_others():
    answers, _ = sample(2000)
    rare = torch.ones(3).long()
    few = Answers(rare, rare.double(), rare.double(), rare > 0, rare > 2)
    merged = Answers(*(torch.cat([a, b]) for a, b in zip(
        (answers.slots.clamp(min=2), *list(vars(answers).values())[1:]), vars(few).values(), strict=True)))  # fmt: skip
    intercepts = fit_platt(merged, SLOTS)["intercepts"]
    assert abs(intercepts[1] - intercepts[0]) < 1.5  # three right answers of three: without a prior, infinite


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=60, deadline=None)
def test_isotonic_equals_sklearn(pairs):
    scores, labels = (torch.tensor(column).double() for column in zip(*pairs, strict=True))
    fitted = fit_isotonic(scores, labels)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores.numpy(), labels.numpy())
    asked = torch.linspace(-6, 6, 49)
    found = probability(fitted, asked, torch.zeros(49).long())
    np.testing.assert_allclose(found.numpy(), theirs.predict(asked.numpy()), atol=1e-9)


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_a_calibration_counts_the_answers_that_people_see_and_is_monotone(toy_mmkg, toy_bundle, method):
    graph = toy_mmkg.graph
    sizes = len(graph.entities), len(graph.relations)
    fitted = calibrate(toy_bundle.model, graph.train, graph.valid, *sizes, method)
    queries = sum(len(graph.valid[:, columns].unique(dim=0)) for columns in ([0, 1], [1, 2]))
    assert fitted["answers"] == 10 * queries
    assert 0 < fitted["right"] <= 2 * len(graph.valid)
    slots = torch.zeros(100).long()
    probabilities = probability(fitted, torch.linspace(-30, 30, 100), slots)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (probabilities.diff() >= 0).all()


def test_maps_of_earlier_bundles_know_the_score_alone():
    earlier, scores = {"method": "platt", "slope": 2.0, "intercept": 1.0}, torch.tensor([-1.0, 0.5])
    expected = torch.sigmoid(2 * scores.double() + 1)
    assert torch.equal(probability(earlier, scores, torch.tensor([0, 5]), torch.ones(2)), expected)


def test_the_expected_error_is_that_of_equal_groups():
    assert expected_error([0.1, 0.2, 0.8, 0.9], [False, False, True, True], bins=2) == pytest.approx(0.15)
    assert expected_error([0.5, 0.5], [True, False], bins=1) == 0
