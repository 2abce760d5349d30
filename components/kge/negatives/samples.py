"""A batch and its negatives. A negative is an entity, of the graph or generated, that corrupts a positive triple.

B positives of a batch, b of a block, K negatives of each, e width of an embedding.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.losses.base import NegativeLoss


@dataclass(frozen=True)
class Batch:
    """Positives ``triples[B, 3]`` and their weights in the loss, ``weight[B]``.

    ``asks_head`` bool ``[B]``: which side of a triple is asked for in batches of queries; None: both sides are.
    """

    triples: Tensor
    weight: Tensor
    asks_head: Tensor | None = None

    @property
    def heads(self) -> Tensor:
        """Head ids ``[B]``."""
        return self.triples[:, HEAD]

    @property
    def relations(self) -> Tensor:
        """Relation ids ``[B]``."""
        return self.triples[:, RELATION]

    @property
    def tails(self) -> Tensor:
        """Tail ids ``[B]``."""
        return self.triples[:, TAIL]

    def __len__(self) -> int:
        return len(self.triples)


@dataclass(frozen=True)
class EntityNegatives:
    """Entities of the graph, ``ids[b, K]``; ``parts[m]`` ``[b, K]``: entities that modality m comes from instead.

    ``pool``: if the positives share their negatives, ids ``[P]`` with ``ids = pool[places]``, ``places[b, K]``. All are
    then scored at once, as a matrix of the b queries and the P entities.
    """

    ids: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)
    pool: Tensor | None = None
    places: Tensor | None = None

    def of(self, modality: str) -> Tensor:
        """Ids ``[b, K]`` of the entities from which the modality is taken."""
        return self.parts.get(modality, self.ids)

    @property
    def count(self) -> int:
        """K."""
        return self.ids.shape[1]

    def after(self, gold: Tensor) -> "EntityNegatives":
        """These, with the entities ``gold[b]`` as the first column."""
        column = gold.unsqueeze(1)
        parts = {m: torch.cat([column, ids], dim=1) for m, ids in self.parts.items()}
        return EntityNegatives(torch.cat([column, self.ids], dim=1), parts)


@dataclass(frozen=True)
class GeneratedNegatives:
    """Generated entities, given as embeddings ``[b, K, e]``."""

    modal: ModalityEmbeddings

    @property
    def count(self) -> int:
        """K."""
        return self.modal.shape[1]


Negatives = EntityNegatives | GeneratedNegatives


@dataclass(frozen=True)
class NegativeBlock:
    """Negatives of the positives at ``rows[b]`` of a batch: head, tail or both are replaced, K times.

    The block's loss is ``weight`` times the sum over its rows divided by the size of the batch, and is logged by
    ``name``; a row may come several times. ``terms`` and ``loss`` default to the fusion's and to the run's;
    ``positive_terms``, by which positives are scored if entities are generated, to ``terms``.
    ``negative_weights`` ``[b, K]`` weigh the negatives within a row's loss (a suspected false negative, say).
    ``positive_head`` and ``positive_tail`` (K = 1) replace the positive's own entities, for a sampler that also
    changes positives.
    """

    rows: Tensor
    head: Negatives | None = None
    tail: Negatives | None = None
    name: str = "negatives"
    weight: float = 1.0
    terms: tuple[Term, ...] | None = None
    positive_terms: tuple[Term, ...] | None = None
    loss: NegativeLoss | None = None
    negative_weights: Tensor | None = None
    positive_head: GeneratedNegatives | None = None
    positive_tail: GeneratedNegatives | None = None

    @classmethod
    def of(cls, rows: Tensor, side: Side, candidates: Negatives, **rest: Any) -> "NegativeBlock":
        """The block that replaces one side."""
        replaced: dict[str, Any] = {side: candidates}
        return cls(rows, **replaced, **rest)

    @property
    def kind(self) -> tuple[Any, ...]:
        """Attributes that blocks must share for one call of the loss; the name in the log is the first."""
        side = self.tail if self.head is None else self.head
        assert side is not None
        scored = self.terms, self.positive_terms, self.loss
        return self.name, self.weight, *scored, side.count, self.negative_weights is None

    @property
    def replaces_one_side(self) -> bool:
        """Whether entities of the graph replace one side of unchanged positives: they are answers to a query."""
        replaced = [side for side in (self.head, self.tail) if side is not None]
        unchanged = self.positive_head is None and self.positive_tail is None
        return unchanged and len(replaced) == 1 and isinstance(replaced[0], EntityNegatives)

    @property
    def shares_pool(self) -> bool:
        """Whether the positives share a pool of negatives, which replace one side of them."""
        negatives = self.tail if self.head is None else self.head
        return self.replaces_one_side and isinstance(negatives, EntityNegatives) and negatives.pool is not None


class ScoredBlock(NamedTuple):
    """A block after the model's step: scores of its positives ``[b]`` and negatives ``[b, K]``, without gradient."""

    block: NegativeBlock
    positive: Tensor
    negative: Tensor


def ids_of(triples: Tensor, blocks: Iterable[NegativeBlock]) -> Iterable[Tensor]:
    """Every entity id of a batch: its positives' and its negatives'."""
    yield triples[:, HEAD]
    yield triples[:, TAIL]
    for block in blocks:
        for side in (block.head, block.tail):
            if isinstance(side, EntityNegatives):
                yield side.ids if side.pool is None else side.pool
                yield from side.parts.values()
