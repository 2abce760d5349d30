"""Interface of losses. B positives, K negatives of each, Q queries, P answers to them, N entities, T train triples."""

from abc import ABC, abstractmethod

from torch import Tensor

TINY = 1e-12  # keeps a quotient finite if all weights are zero


class Loss(ABC):  # noqa: B024 (its kinds consume different scores)
    """A loss of scores; the margin γ belongs to the loss, so scores do not include it."""


class NegativeLoss(Loss):
    """A loss of positives and the negatives of a sampler; ``margin`` is γ."""

    margin: float
    graded = False  # whether negatives have levels of hardness, which the sampler must provide

    @abstractmethod
    def __call__(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        """Loss ``[B]`` of scores ``positive[B]``, ``negative[B, K]``, the negatives weighted by ``weights[B, K]``."""


class AllEntityLoss(Loss):
    """A loss of the scores of all entities: every other entity is a negative."""

    uses_known = False  # whether all train answers to a query are labels, and the query counts once for all of them

    @abstractmethod
    def __call__(self, scores: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Loss ``[B]`` of ``scores[B, N]`` with the triples' own answers ``gold[B]``.

        ``answers``: pairs (row, entity) of all known answers, if ``uses_known``.
        """


class GroupedLoss(Loss):
    """A loss of the scores of all entities for distinct queries, each with up to ``answers`` of its train answers.

    With ``candidates``, only the entities of the batch and that many others, drawn for each batch, are scored: C
    entities instead of N.
    """

    answers: int
    candidates: int | None = None

    @abstractmethod
    def __call__(self, scores: Tensor, rows: Tensor, gold: Tensor) -> Tensor:
        """Loss ``[P]`` of answers: ``gold[P]`` answers the query of ``scores[rows[P]]``; ``scores`` ``[Q, N]``."""

    @abstractmethod
    def of_products(
        self,
        query: Tensor,
        table: Tensor,
        rows: Tensor,
        gold: Tensor,
        weight: Tensor,
        offset: Tensor | None = None,
    ) -> Tensor:
        """Sum over the answers, weighted by ``weight[P]``; scalar.

        Scores are ``query[Q, d] @ table[N, d].T``, plus ``offset[N]`` if there is one.
        """


class WholeGraphLoss(Loss):
    """A loss of the scores of all N·R·N triples at once, which an interaction knows in closed form."""

    @abstractmethod
    def __call__(self, positive: Tensor, sum_of_squares: Tensor, n_positives: int) -> Tensor:
        """Loss ``[B]`` of ``positive[B]`` scores and Σ s² over all triples, a scalar; ``n_positives``: T."""


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean ``[B]`` of ``values[B, K]`` with ``weights[B, K]``; 0 if all weights of a row are 0."""
    return (values * weights).sum(-1) / weights.sum(-1).clamp(min=TINY)
