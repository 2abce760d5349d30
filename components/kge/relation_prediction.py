"""Relation prediction: an auxiliary loss that asks which relation holds between two entities.

B triples or directed triples of a batch, R relations.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Term
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.tensors import at_least_float32, total


def relation_loss(model: Model, encoded: EncodedEntities, batch: Batch, groups: list[tuple[Term, ...]]) -> Tensor:
    """−log softmax of a triple's relation among all relation vectors, the weighted mean over the batch; scalar.

    Chen et al. 2021, "Relation prediction as an auxiliary training objective", eq. 2. With reciprocal relations, (h, t)
    and (t, h) are two queries among 2R relations; in a batch of directed triples, each asks in its own direction. The
    losses of an ensemble's terms are summed.
    """
    heads, tails, labels, weight = batch.heads, batch.tails, batch.relations, batch.weight
    if model.config.reciprocal and batch.asks_head is not None:
        heads, tails = (torch.where(batch.asks_head, b, a) for a, b in ((heads, tails), (tails, heads)))
        labels = labels + model.n_relations * batch.asks_head
    elif model.config.reciprocal:
        heads, tails = torch.cat([heads, tails]), torch.cat([tails, heads])
        labels, weight = torch.cat([labels, labels + model.n_relations]), weight.repeat(2)
    scores = [_scores(model, encoded, heads, tails, labels, terms) for terms in groups]
    losses = total(cross_entropy(at_least_float32(each), labels, reduction="none") for each in scores)
    return (weight * losses).sum() / weight.sum()


def _scores(
    model: Model, encoded: EncodedEntities, heads: Tensor, tails: Tensor, relations: Tensor, terms: tuple[Term, ...]
) -> Tensor:
    """Scores ``[B, R]`` (2R if reciprocal) of every relation between ``heads[B]`` and ``tails[B]``."""
    return total(
        term.weighed(
            model.interaction_of(term).score_relations(
                encoded.view(term.head, heads, relations),
                encoded.view(term.tail, tails, relations),
                model.relations[term.relation],
            )
        )
        for term in terms
    )
