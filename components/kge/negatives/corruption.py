"""Corruption of one side by entities of the graph, without train positives."""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock

Count = Annotated[int, Field(gt=0, le=65_536, description="negatives of a positive, K")]
Sides = Annotated[Literal["uniform", "bernoulli"], Field(description="how the corrupted side is chosen")]
Propose = Callable[[Tensor, int], Tensor]  # entities [P, count] for the triples at rows[P]
ROUNDS = 8


class Corruption:
    """Draws the side of each positive, and K entities for it.

    ``uniform``: head or tail with probability ½; ``bernoulli``: the head with probability tph/(tph + hpt), from train
    only (Wang et al. 2014). The side is drawn once per positive, not per negative as in OpenKE, so that the K negatives
    of a positive share one query; the distribution of each negative is the same.
    """

    def __init__(self, context: Context, sides: Sides) -> None:
        self.train, self.n_entities, self.generator = context.train, context.n_entities, context.generator
        n_relations = len(context.graph.relations)
        triples = context.graph.train
        share = head_share(triples, n_relations) if sides == "bernoulli" else torch.full((n_relations,), 0.5)
        self.head_share = share.to(self.generator.device)

    def __call__(self, batch: Batch, count: int) -> Iterator[tuple[Tensor, Side, Tensor]]:
        """Yield positions ``rows[b]`` in the batch, their corrupted side, and uniform entities ``[b, count]``."""
        for rows, side in self.sides(batch):
            yield rows, side, self.replacements(batch.triples[rows], side, count)

    def sides(self, batch: Batch) -> Iterator[tuple[Tensor, Side]]:
        """Yield positions ``rows[b]`` in the batch and their corrupted side."""
        draw = torch.rand(len(batch), generator=self.generator, device=self.generator.device)
        heads = draw < self.head_share[batch.relations]
        sides: tuple[tuple[Side, Tensor], ...] = (("head", heads), ("tail", ~heads))
        for side, chosen in sides:
            rows = chosen.nonzero().squeeze(1)
            if len(rows):
                yield rows, side

    def blocks(self, batch: Batch, count: int) -> list[NegativeBlock]:
        """One block of ``count`` entities per positive for each side that is corrupted."""
        return [NegativeBlock.of(rows, side, EntityNegatives(ids)) for rows, side, ids in self(batch, count)]

    def replacements(self, triples: Tensor, side: Side, count: int, propose: Propose | None = None) -> Tensor:
        """Entities ``[b, count]``, uniform or from ``propose``, that make no train triple of ``triples[b, 3]``.

        Positives are redrawn. Those left after some rounds are drawn uniformly, and finally from the exact complement.
        If every entity is an answer to a query, its draws are kept.
        """
        draws = (propose, self._draw) if propose else (self._draw,)
        ids = draws[0](torch.arange(len(triples), device=triples.device), count)
        pending = self.train.collisions(triples, side, ids)
        for draw in (draw for draw in draws for _ in range(ROUNDS)):
            if not len(pending):
                return ids
            drawn = draw(pending // count, 1)
            ids.view(-1)[pending] = drawn.squeeze(1)
            pending = pending[self.train.collisions(triples[pending // count], side, drawn)]
        rows = pending // count
        for row in rows.unique():
            self._draw_complement(triples[row], side, ids[row], pending[rows == row] % count)
        return ids

    def _draw(self, rows: Tensor, count: int) -> Tensor:
        size, device = (len(rows), count), self.generator.device
        return torch.randint(self.n_entities, size, generator=self.generator, device=device)

    def _draw_complement(self, triple: Tensor, side: Side, ids: Tensor, columns: Tensor) -> None:
        everyone = torch.arange(self.n_entities, device=ids.device).unsqueeze(0)
        free = torch.ones(self.n_entities, device=ids.device)
        free[self.train.collisions(triple.unsqueeze(0), side, everyone)] = 0
        if free.any():
            ids[columns] = torch.multinomial(free, len(columns), replacement=True, generator=self.generator)


def head_share(triples: Tensor, n_relations: int) -> Tensor:
    """tph/(tph + hpt) ``[R]`` of each relation; ½ for relations without triples."""
    tph, hpt = multiplicities(triples, n_relations)
    return (tph / (tph + hpt)).nan_to_num(0.5).float()


def multiplicities(triples: Tensor, n_relations: int) -> tuple[Tensor, Tensor]:
    """Tails per head and heads per tail of each relation, tph and hpt ``[R]``; NaN for relations without triples."""
    triples = torch.unique(triples, dim=0)
    count = torch.bincount(triples[:, RELATION], minlength=n_relations).double()
    heads = _distinct(triples[:, [RELATION, HEAD]], n_relations)
    tails = _distinct(triples[:, [RELATION, TAIL]], n_relations)
    return count / heads, count / tails


def _distinct(pairs: Tensor, n_relations: int) -> Tensor:
    return torch.bincount(torch.unique(pairs, dim=0)[:, 0], minlength=n_relations).double()
