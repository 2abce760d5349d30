"""Relation popularity: a baseline that every useful model must beat."""

import torch
from torch import Tensor, nn

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph


class RelationPopularity(nn.Module):
    """Scores a candidate by its frequency in that slot of that relation in train, regardless of the other entity.

    It can be passed to ``mmkgc.components.kge.evaluation.ranks.rank`` like a model.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        shape = len(graph.relations), len(graph.entities)
        self._heads, self._tails = (_counts(graph.train, slot, shape) for slot in (HEAD, TAIL))

    def freeze(self) -> "RelationPopularity":
        """Do nothing; required by ``Scorer``."""
        return self

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Counts of every entity as tail of the relations ``[B]``, ``[B, N]``."""
        return self._tails.index_select(0, relations).to_dense()

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Counts of every entity as head of the relations ``[B]``, ``[B, N]``."""
        return self._heads.index_select(0, relations).to_dense()


def _counts(train: Tensor, slot: int, shape: tuple[int, int]) -> Tensor:
    """Frequency of each entity in ``slot`` of each relation: sparse float ``[R, N]``."""
    indices = train[:, [RELATION, slot]].T
    return torch.sparse_coo_tensor(indices, torch.ones(len(train)), shape, check_invariants=True).coalesce()
