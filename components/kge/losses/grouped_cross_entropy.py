"""Cross-entropy with the triples of each query grouped."""

from torch import Tensor

from mmkgc.components.kge.kernels.softmax import dot_cross_entropy
from mmkgc.components.kge.losses.base import GroupedLoss


class GroupedCrossEntropy(GroupedLoss):
    """−log softmax over all entities of every train answer; all answers to a query are in one batch.

    The loss of an epoch is that of ``cross-entropy`` (Lacroix et al. 2018, eq. 3), but each distinct query is scored
    once instead of once for each of its answers: on DB15K, MKG-W and MKG-Y half as many scores. The batches differ:
    ``batch_size`` counts queries. Where scores are dot products, ``kernels/softmax.py`` computes loss and gradient.
    """

    def __call__(self, scores: Tensor, rows: Tensor, gold: Tensor) -> Tensor:
        return scores.logsumexp(1)[rows] - scores[rows, gold]

    def of_products(self, query: Tensor, table: Tensor, rows: Tensor, gold: Tensor, weight: Tensor) -> Tensor:
        return dot_cross_entropy(query, table, rows, gold, weight)
