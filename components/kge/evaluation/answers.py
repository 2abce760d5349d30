"""Answers as people see them: the best candidates of held-out queries that the graph does not hold, right or wrong."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import Scorer, at_once
from mmkgc.components.kge.graph import HEAD, RELATION, SIDES, TAIL, KnownTriples, Side, reflexive, slot_of

COUNT = 10
BATCH = 256


@dataclass(frozen=True)
class Answers:
    """The A best unknown answers of queries, query by query, best first.

    ``slots`` int64 ``[A]``: ``slot_of`` their relation and the side that was asked for. ``scores`` and ``margins``
    float64 ``[A]``: a margin is the score less that of the best other unknown candidate, positive for the first answer
    alone. ``right`` bool ``[A]``: whether it is one of the held-out triples. ``first`` bool ``[A]``.
    """

    slots: Tensor
    scores: Tensor
    margins: Tensor
    right: Tensor
    first: Tensor


@torch.no_grad()
def best_answers(
    model: Scorer, held_out: Tensor, known: KnownTriples, count: int = COUNT, false: KnownTriples | None = None
) -> Answers:
    """The ``count`` best answers to the queries of the triples ``held_out`` ``[T, 3]``, both directions.

    Answers in ``known`` and ``false`` are left out, as is the query's own entity where no known triple of the relation
    is a loop, as in serving. The triples are on the model's device, the answers on the CPU. The model keeps its mode.
    """
    training = model.training
    model.freeze()
    right = KnownTriples(held_out, known.n_entities, known.n_relations)
    loops = reflexive(known.triples)
    parts = []
    for column, side in SIDES.items():
        given = held_out[:, [TAIL if column == HEAD else HEAD, RELATION]].unique(dim=0)
        for batch in given.split(at_once(BATCH, known.n_entities)):
            entities, relations = batch.unbind(1)
            parts.append(_best(model, entities, relations, side, known, right, loops, count, false))
    model.train(training)
    return Answers(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))


def _best(
    model: Scorer,
    given: Tensor,
    relations: Tensor,
    side: Side,
    known: KnownTriples,
    right: KnownTriples,
    loops: Tensor,
    count: int,
    false: KnownTriples | None,
) -> tuple[Tensor, ...]:
    scores = model.score_tails(given, relations) if side == "tail" else model.score_heads(relations, given)
    scores = scores.double().index_put(known.answers(given, relations, side), scores.new_tensor(-torch.inf).double())
    if false is not None:
        scores[false.answers(given, relations, side)] = -torch.inf
    own = (~torch.isin(relations, loops)).nonzero().squeeze(1)
    scores[own, given[own]] = -torch.inf
    best = scores.topk(min(count + 1, scores.shape[1]))
    kept = best.values[:, :count]
    ends = given.unsqueeze(1).expand_as(kept), relations.unsqueeze(1).expand_as(kept), best.indices[:, :count]
    triples = torch.stack(ends if side == "tail" else ends[::-1], dim=-1)
    columns = (
        slot_of(ends[1], side),
        kept,
        margins(best.values)[:, :count],
        right.contains(triples),
        (torch.arange(kept.shape[1], device=kept.device) == 0).expand_as(kept),
    )
    offered = kept.isfinite()
    return tuple(cast(Tensor, column)[offered] for column in columns)


def margins(scores: Tensor) -> Tensor:
    """Score less that of the best other candidate, of ``scores`` ``[B, k]`` that descend; 0 where there is no other."""
    rival = scores[:, :1].expand_as(scores).clone()
    rival[:, 0] = scores[:, 1] if scores.shape[1] > 1 else -torch.inf
    return torch.where(rival.isfinite() & scores.isfinite(), scores - rival, 0.0)
