"""All-entity binary cross-entropy."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mmkgc.components.kge.losses.base import AllEntityLoss


class BinaryCrossEntropy(AllEntityLoss):
    """Mean over all entities of −[y log σ(s) + (1 − y) log σ(−s)], y = 1 for every train answer to the query.

    Dettmers et al. 2018 (ConvE), eq. 2; labels are smoothed as in their code, (1 − ε) y + 1/N. There each query occurs
    once in an epoch; here once for each of its answers, with that fraction of the weight.
    """

    uses_known = True

    def __init__(self, *, label_smoothing: Annotated[float, Field(ge=0, lt=1, description="ε")] = 0.1) -> None:
        self.label_smoothing = label_smoothing

    def __call__(self, scores: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor] | None = None) -> Tensor:
        labels = torch.zeros_like(scores)
        labels[answers if answers is not None else (torch.arange(len(gold), device=gold.device), gold)] = 1.0
        if self.label_smoothing:
            labels = (1 - self.label_smoothing) * labels + 1 / scores.shape[1]
        return binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(-1)
