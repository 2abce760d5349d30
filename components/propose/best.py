"""The highest-scored pairs of a relation, at most ``budget`` of them, updated block by block."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.propose.questions import Pairs


@dataclass(frozen=True)
class Best:
    """At most ``budget`` pairs (head, tail) ``[n, 2]`` with their scores ``[n]``, best first.

    Equal scores are ordered by head, then tail. The result therefore does not depend on batches or interruptions.
    """

    budget: int
    pairs: Tensor
    scores: Tensor

    @classmethod
    def none(cls, budget: int) -> "Best":
        """An empty list."""
        return cls(budget, torch.empty((0, 2), dtype=torch.long), torch.empty(0))

    def __len__(self) -> int:
        return len(self.scores)

    def with_block(self, scores: Tensor, pairs: Pairs, asked: Tensor) -> "Best":
        """Merge a block of scores ``[B, A]``: ``asked [B]`` against ``pairs.answers [A]``.

        A score of −∞ marks a pair that is not a candidate.
        """
        flat = scores.flatten()
        bound = self.scores[-1] if len(self) == self.budget else flat.new_tensor(-torch.inf)
        places = ((flat >= bound) & (flat > -torch.inf)).nonzero().squeeze(1)
        if len(places) > self.budget:  # ties with the last kept score stay
            places = places[flat[places] >= flat[places].topk(self.budget).values[-1]]
        found = torch.stack([asked[places // scores.shape[1]], pairs.answers[places % scores.shape[1]]], dim=1)
        return self.joined(Best(self.budget, found if pairs.sought == "tail" else found.flip(1), flat[places]))

    def joined(self, other: "Best") -> "Best":
        """Merge two lists that share no pair."""
        pairs, scores = torch.cat([self.pairs, other.pairs]), torch.cat([self.scores, other.scores])
        heads, tails = pairs.T.numpy()
        order = torch.from_numpy(np.lexsort((tails, heads, -scores.numpy()))[: self.budget])
        return Best(self.budget, pairs[order], scores[order])
