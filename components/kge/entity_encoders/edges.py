"""Train triples along which messages are passed, and their weights."""

import torch
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL


def remaining(triples: Tensor, without: Tensor | None, n_entities: int, n_relations: int) -> Tensor:
    """The ``triples[T, 3]`` that are not among ``without[b, 3]``, in their order."""
    if without is None:
        return triples
    codes = ((t[:, HEAD] * n_relations + t[:, RELATION]) * n_entities + t[:, TAIL] for t in (triples, without))
    return triples[~torch.isin(*codes)]


def both_ways(triples: Tensor, ids: Tensor | None, n_entities: int, n_relations: int) -> Tensor:
    """Edges ``[3, E]`` (source, relation, target) of ``triples[T, 3]`` in both directions that lead to ``ids``.

    ``ids=None``: to all entities. The relation of an inverse edge is r + R.
    """
    heads, relations, tails = triples.unbind(1)
    links = torch.cat([relations, relations + n_relations])
    edges = torch.stack([torch.cat([heads, tails]), links, torch.cat([tails, heads])])
    if ids is None:
        return edges
    wanted = torch.zeros(n_entities, dtype=torch.bool, device=edges.device).index_fill(0, ids, True)
    return edges[:, wanted[edges[2]]]


def softmax_of(logit: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Softmax ``[E]`` of ``logit[E]`` within each group; ``group[E]``: group of each logit."""
    highest = logit.detach().new_full((n_groups,), -torch.inf).scatter_reduce(0, group, logit.detach(), "amax")
    weight = (logit - highest[group]).exp()
    return weight / weight.new_zeros(n_groups).index_add(0, group, weight)[group]
