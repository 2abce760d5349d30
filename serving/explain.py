"""Why a prediction: the training triples that most resemble it."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from components.kge.bundle import Bundle
from components.kge.graph import HEAD, RELATION, TAIL

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
        relation = triple[RELATION]
        peers = self.train[self.starts[relation] : self.ends[relation]][:MOST_COMPARED]
        peers = peers[(peers != triple).any(1)]
        if not len(peers):
            return peers
        ids, places = torch.unique(torch.cat([triple[None], peers])[:, [HEAD, TAIL]], return_inverse=True)
        vectors = self._vectors(ids)
        likeness = vectors @ vectors[places[0]].T
        similarity = likeness[places[1:, 0], 0] + likeness[places[1:, 1], 1]
        best = torch.argsort(similarity, descending=True, stable=True)[:count]
        return peers[best]

    def _vectors(self, ids: Tensor) -> Tensor:
        modal = self.entities.modal(ids)
        return normalize(torch.cat([normalize(vectors, dim=-1) for vectors in modal.vectors.values()], dim=-1), dim=-1)
