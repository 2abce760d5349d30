"""Metrics of filtered ranks, and a table with one row per query from which all evaluation results are computed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmkgc.components.kge.evaluation.ranks import Ranks

Ties = Literal["realistic", "optimistic", "pessimistic"]
Side = Literal["both", "head", "tail"]
SIDES: tuple[Side, ...] = ("both", "head", "tail")
TIES: tuple[Ties, ...] = ("realistic", "optimistic", "pessimistic")


@dataclass(frozen=True)
class QueryRanks:
    """Ranks of the queries of T triples: the T head queries ``(?, r, t)``, then the T tail queries ``(h, r, ?)``.

    Every array has one entry per query, Q in total. ``triple`` is the row of the triple in its split, ``side`` the side
    asked for, ``optimistic`` one plus the number of strictly better candidates, ``pessimistic`` the number of
    candidates at least as good, ``candidates`` the number of ranked entities, including the answer.
    """

    triple: NDArray[np.int64]
    side: NDArray[np.str_]
    optimistic: NDArray[np.float64]
    pessimistic: NDArray[np.float64]
    candidates: NDArray[np.int64]

    @classmethod
    def of(cls, ranks: Ranks) -> "QueryRanks":
        """Stack the two sides of ``ranks``."""
        size = len(ranks.head.optimistic)
        return cls(
            triple=np.tile(np.arange(size), 2),
            side=np.repeat(["head", "tail"], size),
            optimistic=_stacked(ranks.head.optimistic, ranks.tail.optimistic).astype(np.float64),
            pessimistic=_stacked(ranks.head.pessimistic, ranks.tail.pessimistic).astype(np.float64),
            candidates=_stacked(ranks.head.candidates, ranks.tail.candidates).astype(np.int64),
        )

    @property
    def realistic(self) -> NDArray[np.float64]:
        """Expected rank when ties are broken at random."""
        return (self.optimistic + self.pessimistic) / 2

    def at(self, ties: Ties) -> NDArray[np.float64]:
        """Ranks under one treatment of ties."""
        ranks: NDArray[np.float64] = getattr(self, ties)
        return ranks

    def where(self, mask: NDArray[np.bool_]) -> "QueryRanks":
        """The queries that ``mask`` ``[Q]`` selects."""
        return replace(self, **{field.name: getattr(self, field.name)[mask] for field in fields(self)})

    def on(self, side: Side) -> "QueryRanks":
        """The queries of one side, or all."""
        return self if side == "both" else self.where(self.side == side)

    def __len__(self) -> int:
        return len(self.side)


def _stacked(head: Tensor, tail: Tensor) -> NDArray[np.float64]:
    return np.concatenate([head.cpu().numpy(), tail.cpu().numpy()])


def rank_metrics(
    ranks: NDArray[np.float64], candidates: NDArray[np.int64], ks: Sequence[int] = (1, 3, 10)
) -> dict[str, float]:
    """Metrics of ranks ``[Q]`` among ``candidates`` ``[Q]``.

    ``mr`` mean rank, ``mrr`` mean reciprocal rank, ``hits_at_k`` share of ranks ≤ k; ``amr`` mean rank over its
    expectation for random scores (1 = chance, lower is better) and ``amri`` the index 1 − (MR − 1) / (E[MR] − 1)
    (0 = chance, 1 = perfect), both of Berrendorf et al. 2020, "On the ambiguity of rank-based evaluation".
    """
    mean, chance = ranks.mean(), (candidates.mean() + 1) / 2
    hits = {f"hits_at_{k}": (ranks <= k).mean() for k in ks}
    index = 1 - (mean - 1) / (chance - 1) if chance > 1 else 0.0
    values = {"mr": mean, "mrr": (1 / ranks).mean(), **hits, "amr": mean / chance, "amri": index}
    return {name: float(value) for name, value in values.items()}


def metrics_by_side(queries: QueryRanks, ks: Sequence[int], ties: Ties) -> dict[str, dict[str, float]]:
    """Metrics of head queries, tail queries and both; a side without queries is left out."""
    sides = ((side, queries.on(side)) for side in SIDES)
    return {side: rank_metrics(part.at(ties), part.candidates, ks) for side, part in sides if len(part)}
