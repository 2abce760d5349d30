"""The losses of a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor

from components.kge.fusions.base import Term
from components.kge.graph import KnownTriples
from components.kge.interactions.base import Side
from components.kge.model import Model
from components.kge.negatives.base import Batch, Block, Strategy
from components.kge.objectives.base import AllEntityObjective, NegativeObjective, Objective
from components.kge.pool import Pool, ids_of
from components.kge.regularizers.base import Regularizer
from components.kge.runs import runs
from components.kge.tensors import at_least_float32, total


def batch_losses(
    model: Model,
    batch: Batch,
    blocks: list[Block],
    objective: Objective,
    train: KnownTriples,
    regularizer: Regularizer | None = None,
    strategy: Strategy | None = None,
) -> dict[str, Tensor]:
    """Scalar losses of a batch by name; training minimises their sum.

    The objective looks at the blocks of negatives, or at all entities. Every entity of the batch is projected and fused
    once; ``strategy`` may then refine its blocks. ``train``: the answers that count as true labels.
    """
    losses: dict[str, Tensor] = {}
    if isinstance(objective, AllEntityObjective):
        pool = Pool(model)
        losses["all_entities"] = all_entity_loss(model, pool, batch, objective, train)
    else:
        assert isinstance(objective, NegativeObjective)
        pool = Pool(model, ids_of(batch.triples, blocks))
        blocks = strategy.refine(batch, blocks, pool, model) if strategy else blocks
        for alike in runs(blocks, lambda one, other: one.kind == other.kind):
            name, loss = alike[0].name, blocks_loss(model, pool, batch, alike, objective)
            losses[name] = losses[name] + loss if name in losses else loss
    if regularizer:
        losses["regularizer"] = regularizer.penalty(model, model.factors(pool, batch.triples))
    return losses | model.auxiliary(pool, batch.triples)


def blocks_loss(
    model: Model, pool: Pool, batch: Batch, blocks: Sequence[Block], objective: NegativeObjective
) -> Tensor:
    """Scalar loss of blocks of one kind: the weighted mean over the batch; an ensemble's terms are summed.

    The objective looks at all of them at once: for it alone it does not matter which side is corrupted.
    """
    kind = blocks[0]
    objective = kind.objective or objective
    losses = []
    for terms in [kind.terms] if kind.terms else model.groups():
        positive, negative = model.score_blocks(pool, batch.triples, blocks, terms)
        losses.append(objective.loss(at_least_float32(positive), at_least_float32(negative)))
    weight = batch.weight[torch.cat([block.rows for block in blocks])]
    return kind.weight * (weight * total(losses)).sum() / batch.weight.sum()


def all_entity_loss(
    model: Model, pool: Pool, batch: Batch, objective: AllEntityObjective, train: KnownTriples
) -> Tensor:
    """Scalar loss against all entities: the weighted mean over the batch and both directions."""
    sides: tuple[Side, Side] = ("tail", "head")
    losses = [
        _side_loss(model, pool, batch, objective, train, side, terms) for terms in model.groups() for side in sides
    ]
    return (batch.weight * total(losses)).sum() / (2 * batch.weight.sum())


def _side_loss(
    model: Model,
    pool: Pool,
    batch: Batch,
    objective: AllEntityObjective,
    train: KnownTriples,
    side: Side,
    terms: tuple[Term, ...],
) -> Tensor:
    known, gold = (batch.heads, batch.tails) if side == "tail" else (batch.tails, batch.heads)
    scores = at_least_float32(model.score_side(pool, known, batch.relations, side, terms))
    answers = train.answers(known, batch.relations, side) if objective.uses_known else None
    return objective.loss(scores, gold, answers)
