"""The best completions of a few test queries, with the gold answer marked."""

from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.answers import margins
from mmkgc.components.kge.evaluation.calibration import probability
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples, reflexive, slot_of


@torch.no_grad()
def completions(bundle: Bundle, graph: Graph, count: int, answers: int) -> list[dict[str, Any]]:
    """Best ``answers`` of the tail queries of ``count`` test triples, one per relation in turn (``judgeable``).

    ``[{query, head, relation, gold, gold_key, rank, probability, known, answers: [{label, key, score, probability,
    gold}]}]``: head, relation and keys are keys, the others are names. Answers in train and valid are left out, whose
    number is ``known``, and, as in serving, those that are known to be false and the query's own entity, unless the
    relation has loops. ``rank`` (mean rank of ties) and ``probability`` (None if the model was not calibrated) are
    those of the gold answer among the others: what the model says of it while the graph lacks it.
    """
    model, sizes = bundle.model.freeze(), (len(graph.entities), len(graph.relations))
    known = KnownTriples(torch.cat([graph.train, graph.valid]), *sizes)
    triples = judgeable(graph)[:count]
    heads, relations, golds = triples.unbind(1)
    scores = model.score_tails(heads, relations)
    rows = torch.arange(len(triples))
    is_known = _marked(scores, known.tails(heads, relations))
    own = (~torch.isin(relations, reflexive(known.triples))).nonzero().squeeze(1)
    left_out = is_known | _marked(scores, (own, heads[own]))
    left_out |= _marked(scores, KnownTriples(graph.false, *sizes).tails(heads, relations))
    is_known[rows, golds] = left_out[rows, golds] = False
    offered = scores.masked_fill(left_out, -torch.inf)
    chances = _probabilities(bundle, offered, relations)
    return [
        _completion(graph, triple, offered[row], chances[row], int(is_known[row].sum()), answers)
        for row, triple in enumerate(triples.tolist())
    ]


def _marked(scores: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
    """Zeros of the shape of ``scores``, bool, with ones at ``places``."""
    return torch.zeros_like(scores, dtype=torch.bool).index_put(places, torch.tensor(True))


def _probabilities(bundle: Bundle, offered: Tensor, relations: Tensor) -> list[list[float | None]]:
    """Calibrated probabilities of tails by their scores ``[B, N]``, −∞ where a candidate is left out."""
    if bundle.calibration is None:
        return [[None] * offered.shape[1] for _ in offered]
    best = offered.double().sort(dim=1, descending=True)
    slots = slot_of(relations, "tail").unsqueeze(1).expand_as(offered)
    chances = probability(bundle.calibration, best.values, slots, margins(best.values))
    return torch.empty_like(chances).scatter_(1, best.indices, chances).tolist()


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


def _completion(
    graph: Graph, triple: list[int], offered: Tensor, chances: list[float | None], known: int, answers: int
) -> dict[str, Any]:
    names, keys, gold = graph.entities.names, graph.entities.keys, triple[TAIL]
    better, equal = int((offered > offered[gold]).sum()), int((offered == offered[gold]).sum()) - 1
    best = offered.topk(min(answers, int(offered.isfinite().sum())))
    return {
        "query": f"({names[triple[HEAD]]}, {graph.relations.names[triple[RELATION]]}, ?)",
        "head": keys[triple[HEAD]],
        "relation": graph.relations.keys[triple[RELATION]],
        "gold": names[gold],
        "gold_key": keys[gold],
        "rank": 1 + better + equal / 2,
        "probability": chances[gold],
        "known": known,
        "answers": [
            {
                "label": names[entity],
                "key": keys[entity],
                "score": score,
                "probability": chances[entity],
                "gold": entity == gold,
            }
            for entity, score in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ],
    }
