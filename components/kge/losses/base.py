"""What an objective is. B positives, K negatives of each, N entities."""

from abc import ABC, abstractmethod

from torch import Tensor


class Loss(ABC):  # noqa: B024 (its two kinds consume different scores)
    """A loss of scores; the margin γ is the objective's, so scores come without it."""


class NegativeLoss(Loss):
    """A loss of positives and the negatives that a strategy gives; ``margin`` is γ."""

    margin: float
    graded = False  # whether the negatives of a positive are of different levels, which a strategy must provide

    @abstractmethod
    def loss(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Loss ``[B]`` of scores ``positive[B]``, ``negative[B, K]``."""


class AllEntityLoss(Loss):
    """A loss of the scores of all entities: every other entity is a negative."""

    uses_known = False  # whether the labels are all train answers of a query, not only the triple's own

    @abstractmethod
    def loss(self, scores: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Loss ``[B]`` of ``scores[B, N]`` with the triples' own answers ``gold[B]``.

        ``answers``: pairs (row, entity) of all known answers, where ``uses_known``.
        """
