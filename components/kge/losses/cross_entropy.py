"""All-entity cross-entropy."""

from typing import Annotated

from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmkgc.components.kge.losses.base import AllEntityLoss


class CrossEntropy(AllEntityLoss):
    """−log softmax over all entities of the triple's own answer, for the tail and for the head.

    Lacroix et al. 2018, eq. 3 ("full multiclass log-loss"); other true answers count as negatives, as there.
    """

    def __init__(
        self,
        *,
        label_smoothing: Annotated[float, Field(ge=0, lt=1, description="share of the label given to all")] = 0.0,
    ) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, scores: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor] | None = None) -> Tensor:
        return cross_entropy(scores, gold, reduction="none", label_smoothing=self.label_smoothing)
