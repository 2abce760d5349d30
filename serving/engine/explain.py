"""Explains a prediction by the most similar training triples."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.serving.engine.topk import top_k

MOST_COMPARED = 20_000
FLOATS_AT_ONCE = 1 << 22  # 16 MB of similarities


class Evidence:
    """Finds the training triples whose entities are most similar to those of a predicted triple.

    Freeze the bundle's model first, so that the vectors of all entities are computed only once.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.model = bundle.model
        order = torch.argsort(bundle.train[:, RELATION], stable=True)
        self.train = bundle.train[order]
        counts = torch.bincount(self.train[:, RELATION], minlength=len(bundle.relations))
        self.ends = counts.cumsum(0)
        self.starts = self.ends - counts

    def nearest(self, triples: Tensor, count: int = 3) -> list[Tensor]:
        """``nearest_all`` for ``triples`` ``[B, 3]`` of any relations, in the same order."""
        found = [triples] * len(triples)
        for relation in triples[:, RELATION].unique():
            rows = torch.nonzero(triples[:, RELATION] == relation).flatten()
            for row, near in zip(rows.tolist(), self.nearest_all(triples[rows], count), strict=True):
                found[row] = near
        return found

    def nearest_all(self, triples: Tensor, count: int = 3) -> list[Tensor]:
        """The ``count`` most similar training triples ``[≤ count, 3]`` of each of ``triples`` ``[B, 3]`` of one
        relation, best first.

        Similarity is cos(h, h′) + cos(t, t′) over the concatenated modality vectors; the triple itself is excluded. If
        the relation has more than 20,000 training triples, only the first 20,000 are compared.
        """
        relation = triples[0, RELATION]
        peers = self.train[self.starts[relation] : self.ends[relation]][:MOST_COMPARED]
        if not len(peers):
            return [peers] * len(triples)
        ids, places = torch.unique(peers[:, [HEAD, TAIL]], return_inverse=True)
        vectors = self._vectors(ids)
        at_once = max(1, FLOATS_AT_ONCE // max(len(ids), len(peers)))
        return [
            peers[row[row >= 0]]
            for part in triples[:, [HEAD, TAIL]].split(at_once)
            for row in self._best(part, ids, vectors, places, count)
        ]

    def _best(self, ends: Tensor, ids: Tensor, vectors: Tensor, places: Tensor, count: int) -> Tensor:
        """Indices ``[B, count]`` of the peers most similar to the triples with heads and tails ``ends`` ``[B, 2]``.

        −1 fills rows with fewer peers. The peers' heads and tails are ``ids[places]``; ``vectors`` belong to ``ids``.
        """
        similarity = vectors.new_zeros(len(ends), len(places))
        same = torch.ones_like(similarity, dtype=torch.bool)
        for own, theirs in zip(ends.T, places.T, strict=True):
            similarity += (self._vectors(own) @ vectors.T)[:, theirs]
            same &= own[:, None] == ids[theirs]
        return torch.from_numpy(top_k(similarity.masked_fill(same, -torch.inf).numpy(), count))

    def _vectors(self, ids: Tensor) -> Tensor:
        modal = self.model.everyone().modal.rows(ids)
        return normalize(torch.cat([normalize(vectors, dim=-1) for vectors in modal.vectors.values()], dim=-1), dim=-1)
