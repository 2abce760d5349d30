"""Cross-entropy with the triples of each query grouped."""

from typing import Annotated

from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.kernels.softmax import dot_cross_entropy
from mmkgc.components.kge.losses.base import GroupedLoss


class GroupedCrossEntropy(GroupedLoss):
    """−log softmax over all entities of every train answer, with the answers to a query together in a batch.

    The loss of an epoch is that of ``cross-entropy`` (Lacroix et al. 2018, eq. 3), but a query is scored once for up to
    ``answers`` of its answers: on DB15K, MKG-W and MKG-Y half as many scores. The batches differ: ``batch_size`` counts
    these groups, and an epoch has fewer answers a step or fewer steps. Where scores are dot products,
    ``kernels/softmax.py`` computes loss and gradient.

    With ``candidates``, the sum over all entities in the softmax is estimated without bias: that over the entities of
    the batch is exact, and each of the others that are drawn (uniformly, without replacement) counts for
    (N − those of the batch) / (number drawn) of them. A few more than ``candidates`` are drawn, so that shapes repeat.
    """

    def __init__(
        self,
        *,
        answers: Annotated[int, Field(gt=0, description="answers to a query in one batch, at most")] = 8,
        candidates: Annotated[
            int | None, Field(gt=0, description="entities scored besides those of the batch, at least; null: all")
        ] = None,
    ) -> None:
        self.answers, self.candidates = answers, candidates

    def __call__(self, scores: Tensor, rows: Tensor, gold: Tensor) -> Tensor:
        return scores.logsumexp(1)[rows] - scores[rows, gold]

    def of_products(
        self,
        query: Tensor,
        table: Tensor,
        rows: Tensor,
        gold: Tensor,
        weight: Tensor,
        offset: Tensor | None = None,
    ) -> Tensor:
        return dot_cross_entropy(query, table, rows, gold, weight, offset)
