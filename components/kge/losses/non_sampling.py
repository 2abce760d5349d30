"""NS-KGE: training without negative sampling."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.losses.base import WholeGraphLoss


class NonSampling(WholeGraphLoss):
    """Squared error of all N·R·N triples, in closed form: c⁺ (1 − s)² of positives, c⁻ s² of all others.

    Li et al. 2021 (NS-KGE), eq. 8–12, without its constant: L = Σ_pos [(c⁺ − c⁻) s² − 2 c⁺ s] + c⁻ Σ_all s². A batch
    of B of the T positives takes B/T of the second sum, and the loss of a triple is its share, so that all batches of
    an epoch sum to L; the paper uses the whole graph as one batch.
    """

    def __init__(
        self,
        *,
        positive_weight: Annotated[float, Field(gt=0, description="c⁺")] = 1.0,
        negative_weight: Annotated[float, Field(gt=0, description="c⁻, of every triple that is no positive")] = 1e-3,
    ) -> None:
        self.positive_weight, self.negative_weight = positive_weight, negative_weight

    def __call__(self, positive: Tensor, sum_of_squares: Tensor, n_positives: int) -> Tensor:
        of_positive = (self.positive_weight - self.negative_weight) * positive.square()
        of_positive = of_positive - 2 * self.positive_weight * positive
        return of_positive + self.negative_weight * sum_of_squares / n_positives
