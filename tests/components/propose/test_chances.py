"""Probabilities of proposals: against a world in which the true ones are known."""

import pytest
import torch

from mmkgc.components.kge.evaluation.calibration import error_by_chance, expected_error
from mmkgc.components.kge.evaluation.logistic import fit_logistic
from mmkgc.components.propose.chances import Candidates, Chances, reliability
from mmkgc.pipeline.cli.chances import abstained, frequency

N, R = 50, 3


def world(count: int, share: float, seed: int) -> tuple[Candidates, torch.Tensor]:
    """Candidates of which ``share`` are facts; those score higher, by as much in every world."""
    random = torch.Generator().manual_seed(seed)
    right = torch.rand(count, generator=random) < share
    scores = torch.randn(count, generator=random) + 1.5 * right
    ends = torch.randint(N, (count, 2), generator=random)
    triples = torch.stack([ends[:, 0], torch.randint(R, (count,), generator=random), ends[:, 1]], dim=1)
    return Candidates(triples, scores, torch.zeros(count)), right


def test_what_is_fitted_where_much_is_missing_holds_where_little_is():
    hidden, right = world(4000, 0.4, 0)
    real, true = world(4000, 0.05, 1)
    chances = Chances(hidden, right, torch.zeros(N), R, lacking=0.4, missing=0.05)
    assert expected_error(chances(real), true) < 0.02
    unshifted = Chances(hidden, right, torch.zeros(N), R, lacking=0.4, missing=0.4)
    assert expected_error(unshifted(real), true) > 0.1


def test_a_wrong_assumption_is_corrected_by_decisions():
    hidden, right = world(4000, 0.4, 0)
    real, true = world(4000, 0.05, 1)
    chances = Chances(hidden, right, torch.zeros(N), R, lacking=0.4, missing=0.4)
    before = expected_error(chances(real), true)
    chances.learn(real[torch.arange(300)], true[:300])
    assert expected_error(chances(real), true) < 0.3 * before


def test_reliability_predicts_what_was_left_out():
    candidates, right = world(4000, 0.3, 2)
    found = reliability(candidates, right, torch.zeros(N), R)
    assert found["expected_error"] < 0.03
    assert 0.3 * found["expected_error"] < found["error_by_chance"] < 0.03  # there is little else: the model is true
    shuffled = right[torch.randperm(len(right), generator=torch.Generator().manual_seed(0))]
    flat = reliability(candidates, shuffled, torch.zeros(N), R)["groups"]
    assert flat[-1]["probability"] - flat[0]["probability"] < 0.15  # nothing to tell the facts by


def test_fewer_answers_err_more_by_chance():
    chances = torch.rand(4000, generator=torch.Generator().manual_seed(0)).double()
    assert error_by_chance(chances[:400]) > 2 * error_by_chance(chances)
    assert error_by_chance(torch.tensor([0.0, 1.0] * 50)) == 0


def test_the_regression_is_where_the_gradient_vanishes():
    random = torch.Generator().manual_seed(0)
    design = torch.randn(60, 4, generator=random).double()
    targets, offset = torch.rand(60, generator=random).double(), torch.randn(60, generator=random).double()
    precision = torch.tensor([0.1, 1.0, 2.0, 3.0]).double()
    weights = fit_logistic(design, targets, precision, offset).requires_grad_()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(design @ weights + offset, targets, reduction="sum")
    (loss + (precision * weights**2).sum() / 2).backward()
    assert weights.grad.abs().max() < 1e-8


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (0.001, "fewer than 1 in 100"),
        (0.02, "about 2 in 100"),
        (0.1, "about 1 in 10"),
        (0.42, "about 4 in 10"),
        (0.94, "about 9 in 10"),
        (0.99, "more than 19 in 20"),
    ],
)
def test_a_probability_in_words(probability, words):
    assert frequency(probability) == words


def test_abstaining_is_said():
    assert abstained(0.3, 0.21, 2) == (
        "2 answers are less probable than 30% and left out; of answers like the best of them, about 2 in 10 are right"
    )
