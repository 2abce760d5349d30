"""What a strategy is: a negative is an entity, real or virtual."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmkgc.components.kge.entity_encoders.table import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Term
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, KnownTriples
from mmkgc.components.kge.interactions.base import Interaction, Side
from mmkgc.components.kge.losses.base import Loss, NegativeLoss

if TYPE_CHECKING:
    from mmkgc.components.kge.encoded_entities import EncodedEntities
    from mmkgc.components.kge.model import Model


@dataclass(frozen=True)
class Batch:
    """Positives ``triples[B, 3]`` and their weights in the loss, ``weight[B]``."""

    triples: Tensor
    weight: Tensor

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
    """Entities of the graph, ``ids[b, K]``; ``parts[m]`` ``[b, K]``: entities that modality m comes from instead."""

    ids: Tensor
    parts: Mapping[str, Tensor] = field(default_factory=dict)

    def of(self, modality: str) -> Tensor:
        """Ids ``[b, K]`` from which the modality is taken."""
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
    """Entities that exist only as vectors ``[b, K, e]``."""

    modal: ModalityEmbeddings

    @property
    def count(self) -> int:
        """K."""
        return next(iter(self.modal.present.values())).shape[1]


@dataclass(frozen=True)
class NegativeBlock:
    """Negatives of the positives at ``rows[b]`` of a batch: head, tail or both are replaced, K times.

    The block's loss is ``weight`` times the sum over its rows divided by the size of the batch, and is logged by
    ``name``; a row may come several times. ``terms`` and ``loss`` default to the fusion's and to the run's.
    """

    rows: Tensor
    head: EntityNegatives | GeneratedNegatives | None = None
    tail: EntityNegatives | GeneratedNegatives | None = None
    name: str = "negatives"
    weight: float = 1.0
    terms: tuple[Term, ...] | None = None
    loss: NegativeLoss | None = None

    @classmethod
    def of(
        cls, rows: Tensor, side: Side, candidates: EntityNegatives | GeneratedNegatives, **rest: Any
    ) -> "NegativeBlock":
        """The block that replaces one side."""
        replaced: dict[str, Any] = {side: candidates}
        return cls(rows, **replaced, **rest)

    @property
    def kind(self) -> tuple[Any, ...]:
        """What blocks must share for an objective to look at all of them at once; the log's name is the first."""
        side = self.tail if self.head is None else self.head
        assert side is not None
        return self.name, self.weight, self.terms, self.loss, side.count


@dataclass(frozen=True)
class Context:
    """What a run supplies to a strategy when it is made; the model is handed over again at each call."""

    model: "Model"
    graph: Graph
    train: KnownTriples
    generator: torch.Generator
    loss: Loss

    @property
    def n_entities(self) -> int:
        """Number of entities N."""
        return len(self.graph.entities)


class NegativeSampler(nn.Module, ABC):
    """Chooses the negatives of a batch.

    A strategy that learns (generators, diffusion, a cache) keeps what it learns in parameters and buffers, and steps an
    optimiser of its own in ``update``, which follows the model's step.
    """

    optimizer: torch.optim.Optimizer | None = None

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        """Why this strategy cannot work with a fusion and an interaction; None where it can."""
        return None

    @abstractmethod
    def sample(self, batch: Batch, model: "Model") -> list[NegativeBlock]:
        """Blocks of negatives for the batch."""

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: "EncodedEntities", model: "Model"
    ) -> list[NegativeBlock]:
        """Change or add blocks, knowing the vectors of the batch's entities, which the loss needs anyway.

        Real entities must be among those of the sampled ``blocks`` and the positives: the pool holds no others.
        """
        return blocks

    def update(self, batch: Batch, blocks: list[NegativeBlock], model: "Model") -> None:
        """Learn from the batch and its sampled blocks, after the model's own step."""

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Hear that epoch ``epoch`` (from 0) of ``epochs`` begins."""

    def metrics(self) -> dict[str, float]:
        """What the epoch's log should show of the strategy."""
        return {}
