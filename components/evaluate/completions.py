"""The best completions of a few test queries, with the gold answer marked."""

from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.model import Model


@torch.no_grad()
def completions(model: Model, graph: Graph, count: int, answers: int) -> list[dict[str, Any]]:
    """Best ``answers`` of the tail queries of ``count`` test triples, one per relation in turn (``judgeable``).

    ``[{query, head, relation, gold, gold_key, rank, known, answers: [{label, score, gold}]}]``: head, relation and
    ``gold_key`` are keys, the others are names. Answers in train and valid are left out; ``known`` is their number.
    ``rank`` is the rank of the gold answer among the others (mean rank of ties).
    """
    known = KnownTriples(torch.cat([graph.train, graph.valid]), len(graph.entities), len(graph.relations))
    triples = judgeable(graph)[:count]
    scores = model.score_tails(triples[:, HEAD], triples[:, RELATION])
    rows, tails = known.tails(triples[:, HEAD], triples[:, RELATION])
    is_known = torch.zeros_like(scores, dtype=torch.bool).index_put((rows, tails), torch.tensor(True))
    is_known[range(len(triples)), triples[:, TAIL]] = False
    return [
        _completion(graph, triple, row, row_known, answers)
        for triple, row, row_known in zip(triples.tolist(), scores, is_known, strict=True)
    ]


def judgeable(graph: Graph) -> Tensor:
    """The test triples ``[T, 3]`` in an order for people: relations in turn, entities with many train triples first.

    The order depends on the graph alone, never on how well a model answers.
    """
    ends = graph.train[:, [HEAD, TAIL]].flatten()
    degrees = torch.bincount(ends, minlength=len(graph.entities))[graph.test[:, [HEAD, TAIL]]].amin(1)
    order = torch.argsort(degrees, descending=True, stable=True)
    relations = graph.test[order, RELATION]
    turns = torch.empty_like(order)
    for relation in relations.unique():
        mine = (relations == relation).nonzero().squeeze(1)
        turns[mine] = torch.arange(len(mine))
    return graph.test[order[torch.argsort(turns, stable=True)]]


def _completion(graph: Graph, triple: list[int], scores: Tensor, known: Tensor, answers: int) -> dict[str, Any]:
    names, gold = graph.entities.names, triple[TAIL]
    rivals = scores[~known]
    better, equal = int((rivals > scores[gold]).sum()), int((rivals == scores[gold]).sum()) - 1
    best = scores.masked_fill(known, -torch.inf).topk(min(answers, len(rivals)))
    return {
        "query": f"({names[triple[HEAD]]}, {graph.relations.names[triple[RELATION]]}, ?)",
        "head": graph.entities.keys[triple[HEAD]],
        "relation": graph.relations.keys[triple[RELATION]],
        "gold": names[gold],
        "gold_key": graph.entities.keys[gold],
        "rank": 1 + better + equal / 2,
        "known": int(known.sum()),
        "answers": [
            {"label": names[entity], "score": score, "gold": entity == gold}
            for entity, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ],
    }
