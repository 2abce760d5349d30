"""The loss of a batch."""

from torch import Tensor

from components.kge.graph import KnownTriples
from components.kge.model import Model
from components.kge.negatives.base import Batch, Block
from components.kge.objectives.base import AllEntityObjective, NegativeObjective
from components.kge.pool import Pool, ids_of
from components.kge.regularizers.base import Regularizer


def negatives_loss(
    model: Model,
    batch: Batch,
    blocks: list[Block],
    objective: NegativeObjective,
    regularizer: Regularizer | None = None,
) -> Tensor:
    """Scalar loss of a batch and its negatives: Σ over blocks of the weighted mean over the batch."""
    pool = Pool(model, ids_of(batch.triples, blocks))
    loss = sum(block_loss(model, pool, batch, block, objective) for block in blocks)
    return loss + regularizer.penalty(model, model.factors(pool, batch.triples)) if regularizer else loss


def block_loss(model: Model, pool: Pool, batch: Batch, block: Block, objective: NegativeObjective) -> Tensor:
    """Scalar loss of one block: positives weigh as in the batch, an ensemble's terms are summed."""
    objective = block.objective or objective
    weight = batch.weight[block.rows]
    total = 0.0
    for terms in [block.terms] if block.terms else model.groups():
        positive, negative = model.score_block(pool, batch.triples[block.rows], block, terms)
        losses = objective.loss(positive.float(), negative.float(), block.margin, block.positive_margin)
        total = total + (weight * losses).sum()
    return block.weight * total / batch.weight.sum()


def all_entity_loss(
    model: Model,
    batch: Batch,
    objective: AllEntityObjective,
    train: KnownTriples,
    regularizer: Regularizer | None = None,
) -> Tensor:
    """Scalar loss of a batch against all entities: the mean of the tail and the head direction."""
    pool = Pool(model)
    known = train if objective.uses_known else None
    loss = 0.0
    for terms in model.groups():
        scores = model.score_side(pool, batch.heads, batch.relations, "tail", terms).float()
        answers = known and known.tails(batch.heads, batch.relations)
        loss = loss + (batch.weight * objective.loss(scores, batch.tails, answers)).sum()
        scores = model.score_side(pool, batch.tails, batch.relations, "head", terms).float()
        answers = known and known.heads(batch.relations, batch.tails)
        loss = loss + (batch.weight * objective.loss(scores, batch.heads, answers)).sum()
    loss = loss / (2 * batch.weight.sum())
    return loss + regularizer.penalty(model, model.factors(pool, batch.triples)) if regularizer else loss
