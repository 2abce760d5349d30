"""Which of a relation's train triples are worth comparing exactly with predicted ones."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mmkgc.serving.engine.topk import top_pairs

AXES = 64
SAMPLE = 1024  # entities from which the axes are computed
COPIED = 2  # entities per peer
SMALLEST = 1e-6  # of the largest eigenvalue; axes of smaller ones are rounding errors


def sketched(vectors: Mapping[str, Tensor], scales: Mapping[str, Tensor]) -> Tensor:
    """Short vectors ``[N, ≤ 64]`` whose inner products are near those of the concatenated ``vectors`` ``[N, e]``.

    Row i of each is first multiplied by its scale. The axes are the principal ones of 1,024 evenly spaced entities,
    so the products are exact if the vectors span at most 64 dimensions there.
    """
    rows = torch.arange(0, n := len(next(iter(vectors.values()))), max(1, -(-n // SAMPLE)))
    sample = {name: part[rows] * scales[name][rows, None] for name, part in vectors.items()}
    values, axes = torch.linalg.eigh(sum((part @ part.T for part in sample.values()), start=torch.zeros(1)))
    values, axes = values[-AXES:], axes[:, -AXES:]
    kept = values > SMALLEST * values[-1].clamp(min=SMALLEST)
    axes = axes[:, kept] * values[kept].rsqrt()
    products = [(part @ (sample[name].T @ axes)) * scales[name][:, None] for name, part in vectors.items()]
    return torch.stack(products).sum(0)


def shortlist(sketches: Tensor, ends: Tensor, peers: Tensor, count: int) -> Tensor:
    """Indices, ascending, of the ``peers`` that for one of the triples are among its ``count`` most similar.

    ``ends`` ``[B, 2]`` and ``peers`` ``[P, 2]`` are heads and tails; triples and peers are compared by the
    ``sketches`` ``[N, s]`` of their entities, of which the same entity twice counts as 1. A triple that is a peer
    itself may be among its own.
    """
    own, rows = torch.unique(ends, return_inverse=True)
    ids, places = _numbered(peers, len(sketches))
    cosines = sketches[own] @ (sketches if ids is None else sketches[ids]).T
    if ids is None:
        cosines[torch.arange(len(own)), own] = 1.0
    else:
        cosines[own[:, None] == ids] = 1.0
    best = top_pairs(cosines.numpy(), rows.numpy(), places.numpy(), count)
    return torch.from_numpy(np.unique(best[best >= 0]))


def _numbered(peers: Tensor, n: int) -> tuple[Tensor | None, Tensor]:
    """The distinct entities ``[V]`` among ``peers`` ``[P, 2]``, and the index of each among them.

    If copying their sketches would take longer than reading those of all ``n``, these count as the distinct ones
    (``None``). Marking is several times faster than sorting.
    """
    if n <= COPIED * len(peers):
        return None, peers
    slots = torch.zeros(n, dtype=torch.long)
    slots[peers.flatten()] = 1
    return torch.nonzero(slots).flatten(), (slots.cumsum(0) - 1)[peers]
