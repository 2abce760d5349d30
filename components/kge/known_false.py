"""The loss of facts that are known to be false: each scores lower than the train triples that share its query.

P pairs of a train triple of the batch and a false answer to one of its two queries.
"""

from torch import Tensor
from torch.nn.functional import softplus

from mmkgc.components.kge.graph import HEAD, SIDES, KnownTriples
from mmkgc.components.kge.losses.base import NegativeLoss, weighted_mean
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock

NAME = "known_false"


class _Ranked(NegativeLoss):
    """log(1 + exp(s⁻ − s⁺)), as in BPR (Rendle et al. 2009, eq. 4).

    Only the difference counts, so that it goes with every interaction and with every other loss.
    """

    margin = 0.0

    def __call__(self, positive: Tensor, negative: Tensor, weights: Tensor | None = None) -> Tensor:
        losses = softplus(negative - positive.unsqueeze(1))
        return losses.mean(1) if weights is None else weighted_mean(losses, weights)


RANKED = _Ranked()


def known_false_blocks(batch: Batch, false: KnownTriples | None, weight: float) -> list[NegativeBlock]:
    """False answers to the queries of a batch, in both directions, as blocks of one negative each.

    A false triple whose two queries have no answer in train is never among them: there is no triple to compare it with.
    """
    blocks = []
    for column, side in SIDES.items() if false is not None else ():
        assert false is not None
        rows, ids = false.answers(batch.tails if column == HEAD else batch.heads, batch.relations, side)
        if len(rows):
            negatives = EntityNegatives(ids.unsqueeze(1))
            blocks.append(NegativeBlock.of(rows, side, negatives, name=NAME, weight=weight, loss=RANKED))
    return blocks
