"""Explains a prediction by the most similar training triples."""

from functools import cached_property

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.serving.engine.topk import top_k

MOST_COMPARED = 20_000
FLOATS_AT_ONCE = 1 << 22  # 16 MB of similarities
SMALLEST = 1e-12  # norm, as in torch's normalize
MOST_COPIED = 0.25  # of all entities: comparing with more of them takes longer to copy than to compare with all


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
        at_once = max(1, FLOATS_AT_ONCE // max(len(self.scales), len(peers)))
        return [
            peers[row[row >= 0]]
            for part in triples[:, [HEAD, TAIL]].split(at_once)
            for row in self._best(part, peers[:, [HEAD, TAIL]], count)
        ]

    def _best(self, ends: Tensor, peers: Tensor, count: int) -> Tensor:
        """Indices ``[B, count]`` of the peers most similar to the triples with heads and tails ``ends`` ``[B, 2]``.

        −1 fills rows with fewer peers. ``peers``: heads and tails ``[P, 2]``.
        """
        own, rows = torch.unique(ends, return_inverse=True)  # the triples of a query share their head or tail
        ids, places = torch.unique(peers, return_inverse=True)
        if len(ids) > MOST_COPIED * len(self.scales):
            ids, places = torch.arange(len(self.scales)), peers
        cosines = self._cosines(own, ids)
        similarity = sum((cosines[rows[:, end]][:, places[:, end]] for end in (0, 1)), start=torch.zeros(1))
        same = (ends[:, None, 0] == peers[:, 0]) & (ends[:, None, 1] == peers[:, 1])
        return torch.from_numpy(top_k(similarity.masked_fill(same, -torch.inf).numpy(), count))

    def _cosines(self, own: Tensor, theirs: Tensor) -> Tensor:
        """Cosines ``[U, V]`` of entities ``own`` ``[U]`` with ``theirs`` ``[V]``, of their concatenated unit vectors.

        If ``theirs`` are all entities, their stored vectors are neither copied nor normalised.
        """
        whole = len(theirs) == len(self.scales)
        products = torch.zeros(len(own), len(theirs))
        for name, vectors in self.model.everyone().modal.vectors.items():
            mine = vectors[own] * self.lengths[name][own, None]
            products += (mine @ (vectors if whole else vectors[theirs]).T) * self.lengths[name][theirs]
        return products * self.scales[own, None] * self.scales[theirs]

    @cached_property
    def lengths(self) -> dict[str, Tensor]:
        """For each modality, 1 / norm ``[N]`` of every entity's vector; 0 for a vector of zeros."""
        norms = {name: vectors.norm(dim=-1) for name, vectors in self.model.everyone().modal.vectors.items()}
        return {name: torch.where(norm > 0, 1 / norm.clamp(min=SMALLEST), 0.0) for name, norm in norms.items()}

    @cached_property
    def scales(self) -> Tensor:
        """1 / norm ``[N]`` of the concatenated unit vectors, which are as many as the entity has modalities."""
        present = torch.stack([(length > 0).float() for length in self.lengths.values()]).sum(0)
        return present.clamp(min=1).rsqrt()
