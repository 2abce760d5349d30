"""Explains a prediction by the most similar training triples."""

from functools import cached_property

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.serving.engine.peers import shortlist, sketched
from mmkgc.serving.engine.topk import top_k

MOST_COMPARED = 20_000
FLOATS_AT_ONCE = 1 << 22  # 16 MB of similarities
SMALLEST = 1e-12  # norm, as in torch's normalize
FEW = 512  # peers that are all compared exactly
LISTED = 32  # peers of each triple that are compared exactly, of more


class Evidence:
    """Finds the training triples whose entities are most similar to those of a predicted triple.

    Freeze the bundle's model first, so that the vectors of all entities are computed only once.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.model = bundle.model
        order = torch.argsort(bundle.train[:, RELATION], stable=True)
        self.train = bundle.train[order]
        self.pairs = self.train[:, [HEAD, TAIL]]
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

        Similarity is cos(h, h′) + cos(t, t′) over the concatenated modality vectors; the triple itself is excluded. Of
        relations with more than 512 training triples, those are compared that are most similar by short vectors; of
        those with more than 20,000, only the first 20,000.
        """
        relation = triples[0, RELATION]
        first, last = int(self.starts[relation]), int(self.ends[relation])
        peers = range(first, min(last, first + MOST_COMPARED))
        if not peers:
            return [self.train[:0]] * len(triples)
        parts = triples[:, [HEAD, TAIL]].split(max(1, FLOATS_AT_ONCE // len(peers)))
        return [self.train[row[row >= 0]] for part in parts for row in self._best(part, peers, count)]

    def _best(self, ends: Tensor, peers: range, count: int) -> Tensor:
        """Rows ``[B, count]`` in ``train`` of the ``peers`` most similar to triples with heads and tails ``ends``
        ``[B, 2]``; −1 where there are fewer.
        """
        theirs = self.pairs[peers.start : peers.stop]
        among = shortlist(self.sketches, ends, theirs, LISTED + count) if len(peers) > FEW else torch.arange(len(peers))
        theirs = theirs[among]
        own, rows = torch.unique(ends, return_inverse=True)  # the triples of a query share their head or tail
        ids, places = torch.unique(theirs, return_inverse=True)
        cosines = self._cosines(own, ids)
        similarity = sum((cosines[rows[:, end]][:, places[:, end]] for end in (0, 1)), start=torch.zeros(1))
        same = (ends[:, None] == theirs).all(-1)
        best = torch.from_numpy(top_k(similarity.masked_fill(same, -torch.inf).numpy(), count))
        return torch.where(best < 0, best, peers.start + among[best])

    def _cosines(self, own: Tensor, theirs: Tensor) -> Tensor:
        """Cosines ``[U, V]`` of the concatenated unit vectors of entities ``own`` ``[U]`` and ``theirs`` ``[V]``."""
        products = torch.zeros(len(own), len(theirs))
        for name, vectors in self.model.everyone().modal.vectors.items():
            mine = vectors[own] * self.scales[name][own, None]
            products += (mine @ vectors[theirs].T) * self.scales[name][theirs]
        return products

    @cached_property
    def scales(self) -> dict[str, Tensor]:
        """For each modality, 1 / norm ``[N]`` of every entity's vector, 0 for a vector of zeros, over the norm of the
        concatenated unit vectors, which are as many as the entity has modalities.
        """
        norms = {name: vectors.norm(dim=-1) for name, vectors in self.model.everyone().modal.vectors.items()}
        lengths = {name: torch.where(norm > 0, 1 / norm.clamp(min=SMALLEST), 0.0) for name, norm in norms.items()}
        present = torch.stack([(length > 0).float() for length in lengths.values()]).sum(0)
        return {name: length * present.clamp(min=1).rsqrt() for name, length in lengths.items()}

    @cached_property
    def sketches(self) -> Tensor:
        """A short vector of every entity, for ``shortlist``."""
        return sketched(self.model.everyone().modal.vectors, self.scales)
