"""What reviewers' decisions changed: ranks of new train facts and of false ones, by the champion and by a new model."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.metrics import QueryRanks
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import Graph, KnownTriples, without
from mmkgc.components.register.questions import Contender, shared_questions, translated

TOP = 10


def feedback(graph: Graph, champion: Contender, challenger: Contender) -> dict[str, Any] | None:
    """How many facts are new in train or known to be false, and how many of them each model has among its ten best.

    A fact counts if it is among the ten best answers to one of its two queries, train and development triples left out.
    Facts with an entity or relation that one of the models does not know are left out. None if there are no facts.
    """
    shared = shared_questions(graph, (champion, challenger)).graph
    of_graph = graph.entities, graph.relations, shared.entities, shared.relations
    of_champion = champion.entities, champion.relations, shared.entities, shared.relations
    train = translated(graph.train, *of_graph)
    kinds = {
        "new": without(train, translated(champion.train, *of_champion)),
        "false": translated(graph.false, *of_graph),
    }
    if not any(map(len, kinds.values())):
        return None
    sizes = len(shared.entities), len(shared.relations)
    known = KnownTriples(torch.cat([train, translated(graph.valid, *of_graph)]), *sizes)
    found: dict[str, Any] = {"champion": champion.label, "challenger": challenger.label, "top": TOP}
    for kind, triples in kinds.items():
        counts = {
            name: _among_best(contender, triples, known, shared)
            for name, contender in (("before", champion), ("after", challenger))
        }
        found[kind] = {"facts": len(triples)} | counts
    return found


def sentences(found: dict[str, Any]) -> list[str]:
    """The feedback in words."""
    words = {"new": "train facts are new to it", "false": "facts are known to be false"}
    return [
        f"{found[kind]['facts']} {told}: {found[kind]['before']} of them are among the {found['top']} best answers of "
        f"{found['champion']}, {found[kind]['after']} of this one"
        for kind, told in words.items()
        if found[kind]["facts"]
    ]


def _among_best(contender: Contender, triples: Tensor, known: KnownTriples, shared: Graph) -> int:
    if not len(triples):
        return 0
    ranks = QueryRanks.of(rank(contender.within(shared.entities, shared.relations), triples, known)).realistic
    return int((np.minimum(*ranks.reshape(2, -1)) <= TOP).sum())
