"""The highest-scored pairs of a relation, at most ``budget`` of them, updated block by block."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.propose.questions import Pairs


@dataclass(frozen=True)
class Best:
    """At most ``budget`` pairs (head, tail) ``[n, 2]`` with their scores and margins ``[n]``, best first.

    A margin is the score less that of the best other candidate of the same query; 0 where there is no other.
    Equal scores are ordered by head, then tail. The result therefore does not depend on batches or interruptions.
    """

    budget: int
    pairs: Tensor
    scores: Tensor
    margins: Tensor

    @classmethod
    def none(cls, budget: int) -> "Best":
        """An empty list."""
        return cls(budget, torch.empty((0, 2), dtype=torch.long), torch.empty(0), torch.empty(0))

    def first(self, budget: int) -> "Best":
        """The best ``budget`` of them."""
        return Best(budget, self.pairs[:budget], self.scores[:budget], self.margins[:budget])

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, kept: Tensor) -> "Best":
        """Those that are marked in ``kept``, bool ``[n]``."""
        return Best(self.budget, self.pairs[kept], self.scores[kept], self.margins[kept])

    def with_block(self, scores: Tensor, pairs: Pairs, asked: Tensor) -> "Best":
        """Merge a block of scores ``[B, A]``: ``asked [B]`` against ``pairs.answers [A]``.

        A score of −∞ marks a pair that is not a candidate.
        """
        flat = scores.flatten()
        bound = self.scores[-1] if len(self) == self.budget else flat.new_tensor(-torch.inf)
        places = ((flat >= bound) & (flat > -torch.inf)).nonzero().squeeze(1)
        if len(places) > self.budget:  # ties with the last kept score stay
            places = places[flat[places] >= flat[places].topk(self.budget).values[-1]]
        rows, columns = places // scores.shape[1], places % scores.shape[1]
        found = torch.stack([asked[rows], pairs.answers[columns]], dim=1)
        ends = found if pairs.sought == "tail" else found.flip(1)
        return self.joined(Best(self.budget, ends, flat[places], _margins(scores, rows, columns)))

    def joined(self, other: "Best") -> "Best":
        """Merge two lists that share no pair."""
        pairs, scores, margins = (
            torch.cat(both)
            for both in ((self.pairs, other.pairs), (self.scores, other.scores), (self.margins, other.margins))
        )
        heads, tails = pairs.T.numpy()
        order = torch.from_numpy(np.lexsort((tails, heads, -scores.numpy()))[: self.budget])
        return Best(self.budget, pairs[order], scores[order], margins[order])


def _margins(scores: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Margins ``[n]`` of the candidates at ``rows`` and ``columns`` of ``scores`` ``[B, A]``."""
    two = scores.topk(min(2, scores.shape[1]), dim=1)
    rival = torch.where(columns == two.indices[rows, 0], two.values[rows, -1], two.values[rows, 0])
    if scores.shape[1] == 1:
        return torch.zeros_like(rival)
    return torch.where(rival.isfinite(), scores[rows, columns] - rival, 0.0)
