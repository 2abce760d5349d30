"""An ensemble is the mean of log-probabilities: it does not depend on the scale or offset of a model's scores."""

import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.ensemble import Ensemble
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import KnownTriples

TRIPLES = torch.tensor([[0, 0, 1], [2, 0, 3], [4, 0, 0]])


class Fixed:
    """A scorer with given scores of tails and heads by the known entity."""

    training = False

    def __init__(self, scores: Tensor) -> None:
        self.scores = scores

    def freeze(self) -> "Fixed":
        return self

    def train(self, mode: bool = True) -> "Fixed":
        return self

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        return self.scores[heads]

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        return self.scores[tails]


def test_the_mean_of_log_probabilities_decides() -> None:
    scores = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    together = Ensemble([Fixed(scores[0]), Fixed(scores[1] + 100)])
    expected = (scores[0].log_softmax(1) + scores[1].log_softmax(1)) / 2
    heads, relations = TRIPLES[:, 0], TRIPLES[:, 1]
    torch.testing.assert_close(together.score_tails(heads, relations), expected[heads], atol=1e-4, rtol=1e-4)
    known = KnownTriples(TRIPLES, 5, 1)
    alone = rank(Fixed(expected), TRIPLES, known)
    assert torch.equal(rank(together, TRIPLES, known).realistic, alone.realistic)


def test_an_ensemble_of_one_ranks_as_its_model() -> None:
    one, known = Fixed(torch.randn(5, 5, generator=torch.Generator().manual_seed(1))), KnownTriples(TRIPLES, 5, 1)
    assert torch.equal(rank(Ensemble([one]), TRIPLES, known).realistic, rank(one, TRIPLES, known).realistic)
