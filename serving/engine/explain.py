"""Explains a prediction by the most similar training triples."""

from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.serving.engine.topk import top_k

MOST_COMPARED = 20_000
FLOATS_AT_ONCE = 1 << 22  # 16 MB of similarities
KEPT_BYTES = 128 << 20  # of unit vectors


class Side(NamedTuple):
    """The distinct heads, or tails, of a relation's training triples.

    ``vectors`` ``[U, d]`` have norm 1; triple i has the entity ``places[i]`` of them.
    """

    vectors: Tensor
    places: Tensor


class Peers(NamedTuple):
    """A relation's training triples ``[P, 3]``, with their heads and tails."""

    triples: Tensor
    sides: tuple[Side, Side]

    @property
    def bytes(self) -> int:
        """Memory of the vectors."""
        return sum(side.vectors.numel() * side.vectors.element_size() for side in self.sides)


class Evidence:
    """Finds the training triples whose entities are most similar to those of a predicted triple.

    Freeze the bundle's model first, so that the vectors of all entities are computed only once. The unit vectors of the
    relations that were asked for last are kept, up to 128 MB: normalising them takes longer than comparing them.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.model = bundle.model
        order = torch.argsort(bundle.train[:, RELATION], stable=True)
        self.train = bundle.train[order]
        counts = torch.bincount(self.train[:, RELATION], minlength=len(bundle.relations))
        self.ends = counts.cumsum(0)
        self.starts = self.ends - counts
        self.kept: OrderedDict[int, Peers] = OrderedDict()
        self.kept_bytes = 0
        self.lock = Lock()

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
        peers = self._peers(int(triples[0, RELATION]))
        if not len(peers.triples):
            return [peers.triples] * len(triples)
        at_once = max(1, FLOATS_AT_ONCE // len(peers.triples))
        return [
            peers.triples[row[row >= 0]]
            for part in triples[:, [HEAD, TAIL]].split(at_once)
            for row in self._best(part, peers, count)
        ]

    def _best(self, ends: Tensor, peers: Peers, count: int) -> Tensor:
        """Indices ``[B, count]`` of the peers most similar to the triples with heads and tails ``ends`` ``[B, 2]``.

        −1 fills rows with fewer peers.
        """
        similarity = torch.zeros(len(ends), len(peers.triples))
        same = torch.ones_like(similarity, dtype=torch.bool)
        for own, side, theirs in zip(ends.T, peers.sides, peers.triples.T[[HEAD, TAIL]], strict=True):
            distinct, places = torch.unique(own, return_inverse=True)  # of a query, all have the same head or tail
            similarity += (self._vectors(distinct) @ side.vectors.T)[places][:, side.places]
            same &= own[:, None] == theirs
        return torch.from_numpy(top_k(similarity.masked_fill(same, -torch.inf).numpy(), count))

    def _peers(self, relation: int) -> Peers:
        """The training triples of a relation, at most the first 20,000."""
        with self.lock:
            if relation in self.kept:
                self.kept.move_to_end(relation)
                return self.kept[relation]
            peers = self._read(relation)
            if peers.bytes <= KEPT_BYTES:
                self.kept[relation] = peers
                self.kept_bytes += peers.bytes
                while self.kept_bytes > KEPT_BYTES:
                    self.kept_bytes -= self.kept.popitem(last=False)[1].bytes
            return peers

    def _read(self, relation: int) -> Peers:
        triples = self.train[self.starts[relation] : self.ends[relation]][:MOST_COMPARED]
        distinct = (torch.unique(triples[:, column], return_inverse=True) for column in (HEAD, TAIL))
        heads, tails = (Side(self._vectors(ids), places) for ids, places in distinct)
        return Peers(triples, (heads, tails))

    def _vectors(self, ids: Tensor) -> Tensor:
        modal = self.model.everyone().modal.rows(ids)
        return normalize(torch.cat([normalize(vectors, dim=-1) for vectors in modal.vectors.values()], dim=-1), dim=-1)
