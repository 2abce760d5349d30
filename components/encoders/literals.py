"""Numbers and dates as vectors: presence of each attribute and position of its value among the training values.

For every attribute, the quantiles q_0 ≤ … ≤ q_B at the levels j / B are computed from the training entities' values.
A value x is then encoded as a position and B soft bins:

    p(x)   = piecewise linear through the points (q_j, j / B), constant outside; equal quantiles are one point at the
             mean of their levels
    b_k(x) = max(0, 1 − |(B − 1) p(x) − k|),  k = 0 … B − 1;  they sum to 1

An entity's vector has one block per attribute, [1, p, b_0 … b_{B−1}], averaged over its values of this attribute, and
zeros if it has none. Attributes with fewer than ``rare`` training values share the last block as if they were one
attribute, regardless of units; so do attributes that no training entity has. Width d = (attributes + 1) · (B + 2).

Positions are invariant to increasing changes of unit (metres or feet, dollars or their logarithm). The quantiles are
part of the encoder's identity, so that new entities are encoded in the same way.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from mmkgc.components.encoders.formula import FormulaConfig, FormulaEncoder
from mmkgc.components.runtime.errors import UserError, did_you_mean

Item = Sequence[tuple[str, float]]  # attribute and value, several of an attribute allowed


class Points(BaseModel):
    """The points of p: strictly ascending values, and the level of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    values: tuple[float, ...] = (0.0,)
    levels: tuple[float, ...] = (0.5,)  # without training values, every value is in the middle

    @classmethod
    def of(cls, values: Sequence[float], bins: int) -> "Points":
        """The quantiles of ``values`` at the levels 0, 1 / bins … 1."""
        if not len(values):
            return cls()
        levels = np.arange(bins + 1) / bins
        knots, inverse, counts = np.unique(np.quantile(values, levels), return_inverse=True, return_counts=True)
        return cls(values=tuple(knots.tolist()), levels=tuple((np.bincount(inverse, levels) / counts).tolist()))


class Fitted(BaseModel):
    """Points fitted to the training entities: of each frequent attribute, and of all ``rare`` ones together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attributes: dict[str, Points] = {}
    rare: tuple[str, ...] = ()
    pooled: Points = Points()

    def __str__(self) -> str:
        return "learnt by the extraction"


class LiteralsConfig(FormulaConfig):
    """Quantiles of the training entities' numbers."""

    encoder: Literal["literals"] = "literals"
    weights: Literal["quantiles"] = "quantiles"
    bins: int = Field(default=8, ge=2, le=100, description="soft bins of an attribute")
    rare: int = Field(default=20, ge=1, description="attributes with fewer training values share one block")
    fitted: Fitted = Field(default=Fitted(), description="left out of recipes: the extraction learns it")


class Literals(FormulaEncoder):
    """Numbers and dates: per attribute presence, quantile position and soft bins, learnt from training entities."""

    modality = "numeric"
    Config = LiteralsConfig
    config: LiteralsConfig

    @property
    def constants(self) -> tuple[Any, ...]:
        """The fitted quantiles and the number of bins."""
        return self.config.fitted.model_dump(mode="json"), self.config.bins

    @property
    def dimension(self) -> int:
        """One block per frequent attribute, one for all others."""
        return (len(self.names) + 1) * (self.config.bins + 2)

    @cached_property
    def names(self) -> list[str]:
        """Frequent attributes in the order of their blocks."""
        return sorted(self.config.fitted.attributes)

    def fit(self, items: Sequence[Item]) -> "Literals":
        """An encoder with the quantiles of ``items``. Raises UserError if there are no numbers."""
        values: dict[str, list[float]] = defaultdict(list)
        for item in items:
            for attribute, value in item:
                values[attribute].append(value)
        if not values:
            mend = "add them to literals.tsv, or set extract.numeric=null"
            raise UserError("extract.numeric", "no entity of the training triples has a number", mend)
        rare = sorted(name for name, found in values.items() if len(found) < self.config.rare)
        bins = self.config.bins
        fitted = Fitted(
            attributes={name: Points.of(values[name], bins) for name in sorted(values.keys() - set(rare))},
            rare=tuple(rare),
            pooled=Points.of([value for name in rare for value in values[name]], bins),
        )
        return Literals(self.config.model_copy(update={"fitted": fitted}))

    def refusal(self, item: Item) -> str:
        """Message about an attribute that no training entity has; empty if there is none."""
        known = [*self.names, *self.config.fitted.rare]
        unknown = [attribute for attribute, _ in item if attribute not in known]
        return f"the model knows no attribute '{unknown[0]}', {did_you_mean(unknown[0], known)}" if unknown else ""

    def pooled(self, batch: Sequence[Item]) -> Tensor:
        """Vectors ``[B, d]``."""
        rest, bins = len(self.names), self.config.bins
        blocks = {name: block for block, name in enumerate(self.names)}
        rows = np.repeat(np.arange(len(batch)), [len(item) for item in batch])
        columns = np.array([blocks.get(name, rest) for item in batch for name, _ in item], dtype=np.int64)
        positions = self._positions(columns, np.array([value for item in batch for _, value in item], dtype=float))
        soft = np.maximum(0, 1 - np.abs((bins - 1) * positions[:, None] - np.arange(bins)))
        ones = np.ones((len(rows), 1))
        sums, counts = np.zeros((len(batch), rest + 1, bins + 2)), np.zeros((len(batch), rest + 1, 1))
        np.add.at(sums, (rows, columns), np.concatenate([ones, positions[:, None], soft], axis=1))
        np.add.at(counts, (rows, columns), 1)
        return torch.from_numpy((sums / np.maximum(counts, 1)).reshape(len(batch), -1)).float()

    def _positions(self, columns: np.ndarray, values: np.ndarray) -> np.ndarray:
        """p of each value ``[V]`` by the points of its block ``columns[V]``."""
        knots, levels, counts = self._points
        below = (knots[columns] <= values[:, None]).sum(axis=1) - 1
        last = counts[columns] - 1
        left, right = np.clip(below, 0, last), np.clip(below + 1, 0, last)
        start, span = knots[columns, left], knots[columns, right] - knots[columns, left]
        share = np.divide(values - start, span, out=np.zeros_like(values), where=span > 0)
        return levels[columns, left] + share * (levels[columns, right] - levels[columns, left])

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and levels of the points of every block ``[A + 1, B + 1]``, padded with infinity, and their counts."""
        fitted = self.config.fitted
        points = [*(fitted.attributes[name] for name in self.names), fitted.pooled]
        counts = np.array([len(each.values) for each in points])
        knots, levels = np.full((len(points), counts.max()), np.inf), np.zeros((len(points), counts.max()))
        for row, each in enumerate(points):
            knots[row, : counts[row]], levels[row, : counts[row]] = each.values, each.levels
        return knots, levels, counts
