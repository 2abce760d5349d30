"""SANS: structure-aware negatives."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides
from mmkgc.components.kge.negatives.proposals import Lists, ProposingSampler

CELLS = 1 << 24  # size of the table of anchors and neighbourhoods held at once, one byte per cell


class SANS(ProposingSampler):
    """Negatives from the k-hop neighbourhood of the entity that is kept.

    Ahrabian et al. 2020, section 3, Aₖ = Aᵏ⁻¹A + Aᵏ⁻¹: entities near the anchor are plausible answers, so those that
    make no train triple are hard negatives. They are drawn uniformly, without parameters. ``walks`` estimates the
    neighbourhood by the entities that this many random walks of k steps visit (RW-SANS). Every walk starts at the
    anchor (the released code continues from the end of the last one and keeps only the ends). The anchor is never a
    negative (there it can be). If the anchor has no neighbours, or all of them are positives, negatives are uniform.
    Triples are walked in both directions (released: from head to tail), so that Aₖ holds all entities at most k steps
    away.

    The neighbourhoods are computed once and take 4 bytes per member. They grow steeply with k, up to N² on a dense
    graph, so those larger than ``size`` are replaced by a uniform sample: at most 4 · N · ``size`` bytes.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        hops: Annotated[int, Field(gt=0, le=16, description="steps from the anchor, k")] = 2,
        walks: Annotated[
            int, Field(ge=0, le=65_536, description="random walks from each anchor; 0: the exact sets")
        ] = 0,
        size: Annotated[int, Field(gt=0, description="largest neighbourhood that is kept of an anchor")] = 4096,
    ) -> None:
        super().__init__(context, count, sides)
        adjacency = neighbours(context.graph.train.to(self.random.device), context.n_entities)
        reached = _walked(adjacency, hops, walks, self.random) if walks else _within(adjacency, hops)
        self.neighbourhoods = _collected(reached, context.n_entities, size, self.random)

    def propose(self, known: Tensor, relations: Tensor, gold: Tensor, side: Side, count: int) -> Tensor:
        return self.neighbourhoods.draw(known, count, gold, self.random)


Reach = Callable[[Tensor], Tensor]  # bool [b, N]: what each of the anchors [b] reaches


def neighbours(triples: Tensor, n_entities: int) -> Lists:
    """The other entities of each entity's triples, once each."""
    heads, tails = triples[:, HEAD], triples[:, TAIL]
    codes = torch.cat([heads * n_entities + tails, tails * n_entities + heads]).unique()
    one, other = codes // n_entities, codes % n_entities
    return Lists.group(one[one != other], other[one != other], n_entities)


def _within(adjacency: Lists, hops: int) -> Reach:
    """Entities at most ``hops`` steps away, by one sparse matrix product per step."""
    from scipy.sparse import csr_array, eye_array  # imported late: serving a model does not need it

    offsets, values = (tensor.cpu().numpy() for tensor in adjacency)
    own = eye_array(len(offsets) - 1, dtype=bool, format="csr")
    step = csr_array((torch.ones(len(values), dtype=torch.bool).numpy(), values, offsets), shape=own.shape) + own

    def reach(anchors: Tensor) -> Tensor:
        reached = own[anchors.cpu().numpy()]
        for _ in range(hops):
            reached = reached @ step
        return torch.from_numpy(reached.toarray()).to(anchors.device)

    return reach


def _walked(adjacency: Lists, hops: int, walks: int, random: torch.Generator) -> Reach:
    """Entities visited by ``walks`` walks of ``hops`` steps that all start at the anchor."""

    def reach(anchors: Tensor) -> Tensor:
        reached = torch.zeros(len(anchors), len(adjacency.sizes), dtype=torch.bool, device=anchors.device)
        places = anchors.unsqueeze(1).repeat(1, walks)
        for _ in range(hops):
            places = adjacency.draw(places.flatten(), 1, places.flatten(), random).view_as(places)
            reached.scatter_(1, places, True)
        return reached

    return reach


def _collected(reach: Reach, n_entities: int, size: int, random: torch.Generator) -> Lists:
    """At most ``size`` of the entities that each entity reaches, without itself."""
    sizes, values = [], []
    for anchors in torch.arange(n_entities, device=random.device).split(max(1, CELLS // n_entities)):
        reached = reach(anchors)
        reached[torch.arange(len(anchors), device=anchors.device), anchors] = False
        many = (reached.sum(1) > size).nonzero().squeeze(1)
        if len(many):
            keys = torch.rand(len(many), n_entities, generator=random, device=random.device) * reached[many]
            kept = torch.zeros_like(reached[many]).scatter_(1, keys.topk(size).indices, True)
            reached[many] = kept
        sizes.append(reached.sum(1))
        values.append(reached.nonzero()[:, 1].int())
    ends = torch.cat(sizes).cumsum(0)
    return Lists(torch.cat([ends.new_zeros(1), ends]), torch.cat(values))
