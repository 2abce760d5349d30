"""CAKE: commonsense-aware negatives."""

import torch
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, SIDES, TAIL, Graph, Side, slot_of
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides, multiplicities
from mmkgc.components.kge.negatives.proposals import Lists, ProposingSampler, below

MANY = 1.5  # from this mean number of answers, a side of a relation counts as "n" (Bordes et al. 2013)


class CAKE(ProposingSampler):
    """Negatives chosen by concept: hard ones for unique answers, and few false negatives otherwise.

    Niu et al. 2022, section 4.2. Each side of a relation has the concepts of the entities that stand there in train.
    If queries have one answer (the side is "1" of 1-1, 1-n, n-1), negatives share the positive's concept. If they have
    many ("n"), negatives have another concept of that side, since an entity with the positive's may be an answer too.

    An entity's concept is its type if the graph gives one, else the side of a relation on which it is most frequent in
    train (the paper uses several ontology types per entity). All statistics are of train only. The paper's evaluation
    also drops candidates of other concepts; ours does not. Memory: 12 bytes per entity, and 24 per concept and side.
    """

    def __init__(self, context: Context, *, count: Count = 64, sides: Sides = "bernoulli") -> None:
        super().__init__(context, count, sides)
        device, graph = self.random.device, context.graph
        n_relations = len(graph.relations)
        concepts = concepts_of(graph)
        self.concepts, self.n_concepts = concepts.to(device), int(concepts.max()) + 1
        self.members = Lists.group(self.concepts, torch.arange(len(concepts), device=device), self.n_concepts)
        tph, hpt = multiplicities(graph.train, n_relations)
        self.unique = {"tail": (tph < MANY).to(device), "head": (hpt < MANY).to(device)}
        self.pairs, self.ends, self.begins, self.totals = self._layout(graph.train.to(device), n_relations)

    def propose(self, known: Tensor, relations: Tensor, gold: Tensor, side: Side, count: int) -> Tensor:
        same = self.members.draw(self.concepts[gold], count, gold, self.random)
        other = self._of_another_concept(slot_of(relations, side), gold, count)
        return torch.where(self.unique[side][relations].unsqueeze(1), same, other)

    def _layout(self, triples: Tensor, n_relations: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Concepts of each side of a relation in consecutive ranges, as long as they have members.

        Ascending codes of the pairs (side, concept) and the end of each; the begin and the length of each side.
        """
        slots = torch.cat([slot_of(triples[:, RELATION], side) for side in SIDES.values()])
        pairs = (slots * self.n_concepts + self.concepts[triples[:, [HEAD, TAIL]].T.flatten()]).unique()
        sizes = self.members.sizes[pairs % self.n_concepts]
        totals = sizes.new_zeros(2 * n_relations).index_add_(0, pairs // self.n_concepts, sizes)
        return pairs, sizes.cumsum(0), totals.cumsum(0) - totals, totals

    def _of_another_concept(self, slots: Tensor, gold: Tensor, count: int) -> Tensor:
        """Uniform members ``[b, count]`` of a side's other concepts; the positive itself if there are none."""
        concept = self.concepts[gold]
        own = self.members.sizes[concept]
        begin = self.ends[torch.searchsorted(self.pairs, slots * self.n_concepts + concept)] - own
        rest = self.totals[slots] - own
        place = self.begins[slots].unsqueeze(1) + below(rest.unsqueeze(1).expand(-1, count), self.random)
        place = place + torch.where(place >= begin.unsqueeze(1), own.unsqueeze(1), 0)  # skip the positive's concept
        pair = torch.searchsorted(self.ends, place, right=True).clamp(max=len(self.pairs) - 1)
        found = self.pairs[pair] % self.n_concepts
        within = place - self.ends[pair] + self.members.sizes[found]
        drawn = self.members.values[(self.members.offsets[found] + within).clamp(max=len(self.members.values) - 1)]
        return torch.where(rest.unsqueeze(1) > 0, drawn, gold.unsqueeze(1))


def concepts_of(graph: Graph) -> Tensor:
    """The concept ``[N]`` of each entity: its type, else its most frequent side in train, else a common one."""
    n_slots = 2 * len(graph.relations)
    slots = torch.cat([slot_of(graph.train[:, RELATION], side) for side in SIDES.values()])
    codes, counts = torch.unique(graph.train[:, [HEAD, TAIL]].T.flatten() * n_slots + slots, return_counts=True)
    most = torch.full((len(graph.entities),), -1)
    most.scatter_reduce_(0, codes // n_slots, counts * n_slots + codes % n_slots, "amax")
    concepts = torch.where(most < 0, n_slots, most % n_slots)
    if graph.types:
        known = {name: number for number, name in enumerate(sorted(set(filter(None, graph.types))), n_slots + 1)}
        typed = torch.tensor([known.get(name, -1) for name in graph.types])
        concepts = torch.where(typed < 0, concepts, typed)
    return concepts.unique(return_inverse=True)[1]
