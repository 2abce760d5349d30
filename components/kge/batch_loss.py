"""The losses of a batch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Term
from mmkgc.components.kge.graph import RELATION, KnownTriples
from mmkgc.components.kge.grouped import Candidates, grouped_loss
from mmkgc.components.kge.grouping import group_consecutive
from mmkgc.components.kge.interactions.base import Interaction, Side
from mmkgc.components.kge.kernels.rows import take
from mmkgc.components.kge.known_false import RANKED, known_false_blocks
from mmkgc.components.kge.losses.base import AllEntityLoss, GroupedLoss, Loss, NegativeLoss, WholeGraphLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import NegativeSampler
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock, ScoredBlock, ids_of
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.regularizers.base import Regularizer
from mmkgc.components.kge.relation_prediction import relation_loss
from mmkgc.components.kge.tensors import at_least_float32, total


class BatchLosses(NamedTuple):
    """Scalar losses of a batch by name, whose sum is minimised, and its blocks of negatives with scores."""

    losses: dict[str, Tensor]
    scored: list[ScoredBlock]


def batch_losses(
    model: Model,
    batch: Batch,
    blocks: list[NegativeBlock],
    loss: Loss,
    train: KnownTriples,
    regularizer: Regularizer | None = None,
    sampler: NegativeSampler | None = None,
    relation_weight: float = 0.0,
    false: KnownTriples | None = None,
    false_weight: float = 1.0,
) -> BatchLosses:
    """The losses of a batch.

    The loss uses the blocks of negatives, all entities, or the whole graph. Every entity of the batch is encoded and
    fused once; ``sampler`` may then refine its blocks. ``train``: the triples that define true labels;
    ``relation_weight``: of the loss of relation prediction; ``false``: triples known to be false, with their weight.
    """
    scored: list[ScoredBlock] = []
    refuted = known_false_blocks(batch, false, false_weight)
    if isinstance(loss, AllEntityLoss):
        encoded = model.encode(without=batch.triples)
        losses = {"all_entities": all_entity_loss(model, encoded, batch, loss, train)}
    elif isinstance(loss, GroupedLoss):
        own = ids_of(batch.triples, refuted)
        some = Candidates.draw(own, train.n_entities, loss.candidates) if loss.candidates else None
        encoded = model.encode([some.own, some.drawn] if some else None, without=batch.triples)
        offset = some.offset(encoded) if some else None
        losses = {"all_entities": grouped_loss(model, encoded, batch, loss, groups(model), offset)}
    elif isinstance(loss, WholeGraphLoss):
        encoded = model.encode(without=batch.triples)
        losses = {"whole_graph": whole_graph_loss(model, encoded, batch, loss, len(train))}
    else:
        assert isinstance(loss, NegativeLoss)
        further = sampler.further_ids() if sampler else ()
        ids = ids_of(batch.triples, [*blocks, *refuted])
        encoded = model.encode([*ids, *further], without=batch.triples)
        blocks = sampler.refine(batch, blocks, encoded, model) if sampler else blocks
        losses = {}
        for alike in group_consecutive(blocks, lambda one, other: one.kind == other.kind):
            value, scores = block_loss(model, encoded, batch, alike, loss)
            name, scored = alike[0].name, scored + scores
            losses[name] = losses[name] + value if name in losses else value
    if refuted:
        losses[refuted[0].name], _ = block_loss(model, encoded, batch, refuted, RANKED)
    if regularizer:
        losses["regularizer"] = regularizer.penalty(model, factors(model, encoded, batch.triples))
    if relation_weight:
        losses["relations"] = relation_weight * relation_loss(model, encoded, batch, groups(model))
    return BatchLosses(losses | auxiliary(model, encoded, batch.triples), scored)


def block_loss(
    model: Model,
    encoded: EncodedEntities,
    batch: Batch,
    blocks: Sequence[NegativeBlock],
    loss: NegativeLoss,
) -> tuple[Tensor, list[ScoredBlock]]:
    """Scalar loss of blocks of one kind, the weighted mean over the batch, and their scores.

    The loss is computed for all blocks at once, since it does not depend on which side is corrupted. The losses of an
    ensemble's terms are summed, and so are their scores.
    """
    kind = blocks[0]
    loss = kind.loss or loss
    losses, scores = [], []
    weights = None
    if kind.negative_weights is not None:
        weights = torch.cat([block.negative_weights for block in blocks if block.negative_weights is not None])
    for terms in [kind.terms] if kind.terms else groups(model):
        positive, negative = (at_least_float32(s) for s in score_blocks(model, encoded, batch.triples, blocks, terms))
        losses.append(loss(positive, negative) if weights is None else loss(positive, negative, weights))
        scores.append((positive.detach(), negative.detach()))
    sizes = [len(block.rows) for block in blocks]
    parts = [total(part).split(sizes) for part in zip(*scores, strict=True)]
    weight = batch.weight[torch.cat([block.rows for block in blocks])]
    mean = kind.weight * (weight * total(losses)).sum() / batch.weight.sum()
    return mean, [ScoredBlock(*together) for together in zip(blocks, *parts, strict=True)]


def all_entity_loss(
    model: Model, encoded: EncodedEntities, batch: Batch, loss: AllEntityLoss, train: KnownTriples
) -> Tensor:
    """Scalar loss against all entities: the weighted mean over the batch and both directions."""
    sides: tuple[Side, Side] = ("tail", "head")
    losses = [_side_loss(model, encoded, batch, loss, train, side, terms) for terms in groups(model) for side in sides]
    return (batch.weight * total(losses)).sum() / (2 * batch.weight.sum())


def _side_loss(
    model: Model,
    encoded: EncodedEntities,
    batch: Batch,
    loss: AllEntityLoss,
    train: KnownTriples,
    side: Side,
    terms: tuple[Term, ...],
) -> Tensor:
    known, gold = (batch.heads, batch.tails) if side == "tail" else (batch.tails, batch.heads)
    scores = at_least_float32(model.score_all(encoded, known, batch.relations, side, terms))
    if not loss.uses_known:
        return loss(scores, gold)
    answers = train.answers(known, batch.relations, side)
    return loss(scores, gold, answers) * _once(answers[0], batch)


def _once(rows: Tensor, batch: Batch) -> Tensor:
    """Factors ``[B]`` by which each query counts once in an epoch, not once for each of its train answers.

    ``rows``: the triple to which each answer belongs. The factors' mean, weighted by the triples' weights, is 1.
    """
    once = 1 / torch.bincount(rows, minlength=len(batch)).clamp(min=1)
    return once * (batch.weight.sum() / (batch.weight * once).sum())


def whole_graph_loss(
    model: Model, encoded: EncodedEntities, batch: Batch, loss: WholeGraphLoss, n_positives: int
) -> Tensor:
    """Scalar loss over all triples: the weighted mean over the batch, of each term alone, without cross terms."""
    losses = []
    for term in model.fusion.terms:
        heads, tails = encoded.views[term.head], encoded.views[term.tail]
        squares = model.interaction_of(term).sum_of_squares(heads, tails, model.relations[term.relation])
        positive = at_least_float32(model.score_encoded(encoded, batch.triples, (replace(term, weight=1.0),)))
        losses.append(loss(positive, squares, n_positives))
    return (batch.weight * total(losses)).sum() / batch.weight.sum()


def groups(model: Model) -> list[tuple[Term, ...]]:
    """Groups of terms with a loss each; in an ensemble every term is a group, without its weight."""
    terms = model.fusion.terms
    return [(replace(term, weight=1.0),) for term in terms] if model.fusion.separate else [terms]


def auxiliary(model: Model, encoded: EncodedEntities, triples: Tensor) -> dict[str, Tensor]:
    """Weighted auxiliary losses of the fusion and, summed over them, of the interactions, by name."""
    losses = dict(model.fusion.auxiliary(encoded.modal))
    tables: dict[Interaction, dict[str, None]] = {}
    for term in model.fusion.terms:
        tables.setdefault(model.interaction_of(term), {})[term.relation] = None
    for interaction, names in tables.items():
        relations = (take(model.relations[name], triples[:, RELATION]) for name in sorted(names))
        for name, loss in interaction.auxiliary(relations).items():
            losses[name] = losses[name] + loss if name in losses else loss
    return losses


def factors(model: Model, encoded: EncodedEntities, triples: Tensor) -> list[Tensor]:
    """Moduli ``[·, e]`` of the vectors of ``triples[B, 3]`` in every distinct view and relation table."""
    heads, relations, tails = triples.unbind(1)
    rows = torch.cat([relations, relations + model.n_relations]) if model.config.reciprocal else relations
    sides = [{term.head: term for term in model.fusion.terms}, {term.tail: term for term in model.fusion.terms}]
    vectors = [
        (encoded.view(view, ids, relations), term)
        for ids, side in zip((heads, tails), sides, strict=True)
        for view, term in sorted(side.items())
    ]
    of_relation = {term.relation: term for term in model.fusion.terms}
    vectors += [(take(table, rows), of_relation[name]) for name, table in model.relations.items()]
    return [model.interaction_of(term).moduli(vector) for vector, term in vectors]
