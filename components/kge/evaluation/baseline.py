"""Baselines without training that every useful model must beat: relation popularity, and the nearest content."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.evaluation.ranks import Untrained
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph


class RelationPopularity(Untrained):
    """Scores a candidate by its frequency in that slot of that relation in train, regardless of the other entity.

    It can be passed to ``mmkgc.components.kge.evaluation.ranks.rank`` like a model.
    """

    def __init__(self, graph: Graph) -> None:
        shape = len(graph.relations), len(graph.entities)
        self._heads, self._tails = (_counts(graph.train, slot, shape) for slot in (HEAD, TAIL))

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Counts of every entity as tail of the relations ``[B]``, ``[B, N]``."""
        return self._tails.index_select(0, relations).to_dense()

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Counts of every entity as head of the relations ``[B]``, ``[B, N]``."""
        return self._heads.index_select(0, relations).to_dense()


class NearestContent(Untrained):
    """Scores a candidate by the cosine of its feature vector and that of the given entity.

    Candidates that occur in that slot of that relation in train come before all others. Entities without the modality
    have similarity 0 to all. With texts, the answer is the entity of the right kind with the most similar description.
    """

    def __init__(self, graph: Graph, features: Features) -> None:
        self._popularity = RelationPopularity(graph)
        self._vectors = normalize(features.vectors * features.mask.unsqueeze(1), dim=1)

    def score_tails(self, heads: Tensor, relations: Tensor) -> Tensor:
        """Similarity of every entity to ``heads``, plus 2 in the relation's slot, ``[B, N]``."""
        return self._scores(heads, self._popularity.score_tails(heads, relations))

    def score_heads(self, relations: Tensor, tails: Tensor) -> Tensor:
        """Similarity of every entity to ``tails``, plus 2 in the relation's slot, ``[B, N]``."""
        return self._scores(tails, self._popularity.score_heads(relations, tails))

    def _scores(self, given: Tensor, counts: Tensor) -> Tensor:
        return self._vectors[given] @ self._vectors.T + 2 * (counts > 0)


def _counts(train: Tensor, slot: int, shape: tuple[int, int]) -> Tensor:
    """Frequency of each entity in ``slot`` of each relation: sparse float ``[R, N]``."""
    indices = train[:, [RELATION, slot]].T
    return torch.sparse_coo_tensor(indices, torch.ones(len(train)), shape, check_invariants=True).coalesce()
