"""Why a prediction: the training triples that most resemble it."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.serving.engine.topk import top_k

MOST_COMPARED = 20_000


class Evidence:
    """Training triples of a relation, compared with a predicted triple by the likeness of their entities."""

    def __init__(self, bundle: Bundle) -> None:
        self.entities = bundle.model.entities
        order = torch.argsort(bundle.train[:, RELATION], stable=True)
        self.train = bundle.train[order]
        counts = torch.bincount(self.train[:, RELATION], minlength=len(bundle.relations))
        self.ends = counts.cumsum(0)
        self.starts = self.ends - counts

    def nearest(self, triple: Tensor, count: int = 3) -> Tensor:
        """The ``count`` most similar training triples ``[count, 3]`` of the triple's relation, best first.

        Similarity is cos(h, h′) + cos(t, t′) over the modality vectors side by side; the triple itself does not count.
        Of a relation with more than 20,000 training triples the first 20,000 are compared.
        """
        return self.nearest_all(triple[None], count)[0]

    def nearest_all(self, triples: Tensor, count: int = 3) -> list[Tensor]:
        """The same for each of ``triples`` ``[B, 3]`` of one relation."""
        relation = triples[0, RELATION]
        peers = self.train[self.starts[relation] : self.ends[relation]][:MOST_COMPARED]
        if not len(peers):
            return [peers] * len(triples)
        ids, places = torch.unique(torch.cat([triples, peers])[:, [HEAD, TAIL]], return_inverse=True)
        vectors = self._vectors(ids)
        similarity = vectors.new_zeros(len(triples), len(peers))
        same = torch.ones_like(similarity, dtype=torch.bool)
        for own, theirs in zip(places[: len(triples)].T, places[len(triples) :].T, strict=True):
            similarity += (vectors[own] @ vectors.T)[:, theirs]
            same &= own[:, None] == theirs
        best = top_k(similarity.masked_fill(same, -torch.inf).numpy(), count)
        return [peers[row[row >= 0]] for row in torch.from_numpy(best)]

    def _vectors(self, ids: Tensor) -> Tensor:
        modal = self.entities.encode(ids)
        return normalize(torch.cat([normalize(vectors, dim=-1) for vectors in modal.vectors.values()], dim=-1), dim=-1)
