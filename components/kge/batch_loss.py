"""The losses of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities, ids_of
from mmkgc.components.kge.fusions.base import Term
from mmkgc.components.kge.graph import KnownTriples
from mmkgc.components.kge.grouping import group_consecutive
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.losses.base import AllEntityLoss, Loss, NegativeLoss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Batch, NegativeBlock, NegativeSampler
from mmkgc.components.kge.regularizers.base import Regularizer
from mmkgc.components.kge.tensors import at_least_float32, total


def batch_losses(
    model: Model,
    batch: Batch,
    blocks: list[NegativeBlock],
    loss: Loss,
    train: KnownTriples,
    regularizer: Regularizer | None = None,
    sampler: NegativeSampler | None = None,
) -> dict[str, Tensor]:
    """Scalar losses of a batch by name; training minimises their sum.

    The objective looks at the blocks of negatives, or at all entities. Every entity of the batch is projected and fused
    once; ``sampler`` may then refine its blocks. ``train``: the answers that count as true labels.
    """
    losses: dict[str, Tensor] = {}
    if isinstance(loss, AllEntityLoss):
        encoded = EncodedEntities(model)
        losses["all_entities"] = all_entity_loss(model, encoded, batch, loss, train)
    else:
        assert isinstance(loss, NegativeLoss)
        encoded = EncodedEntities(model, ids_of(batch.triples, blocks))
        blocks = sampler.refine(batch, blocks, encoded, model) if sampler else blocks
        for alike in group_consecutive(blocks, lambda one, other: one.kind == other.kind):
            name, value = alike[0].name, block_loss(model, encoded, batch, alike, loss)
            losses[name] = losses[name] + value if name in losses else value
    if regularizer:
        losses["regularizer"] = regularizer.penalty(model, model.factors(encoded, batch.triples))
    return losses | model.auxiliary(encoded, batch.triples)


def block_loss(
    model: Model, encoded: EncodedEntities, batch: Batch, blocks: Sequence[NegativeBlock], loss: NegativeLoss
) -> Tensor:
    """Scalar loss of blocks of one kind: the weighted mean over the batch; an ensemble's terms are summed.

    The objective looks at all of them at once: for it alone it does not matter which side is corrupted.
    """
    kind = blocks[0]
    loss = kind.loss or loss
    losses = []
    for terms in [kind.terms] if kind.terms else model.groups():
        positive, negative = model.score_blocks(encoded, batch.triples, blocks, terms)
        losses.append(loss.loss(at_least_float32(positive), at_least_float32(negative)))
    weight = batch.weight[torch.cat([block.rows for block in blocks])]
    return kind.weight * (weight * total(losses)).sum() / batch.weight.sum()


def all_entity_loss(
    model: Model, encoded: EncodedEntities, batch: Batch, loss: AllEntityLoss, train: KnownTriples
) -> Tensor:
    """Scalar loss against all entities: the weighted mean over the batch and both directions."""
    sides: tuple[Side, Side] = ("tail", "head")
    losses = [_side_loss(model, encoded, batch, loss, train, side, terms) for terms in model.groups() for side in sides]
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
    answers = train.answers(known, batch.relations, side) if loss.uses_known else None
    return loss.loss(scores, gold, answers)
