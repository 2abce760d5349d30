"""What a negative sampler is: which entities, real or generated, corrupt a batch?"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.losses.base import Loss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock, ScoredBlock


@dataclass(frozen=True)
class Context:
    """What a run supplies to a sampler when it is made; the model is handed over again at each call."""

    model: Model
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

    In each step of training: ``sample`` draws blocks; the model encodes their entities and those of ``further_ids``;
    ``refine`` may change the blocks, knowing the embeddings; after the model's step, ``update`` gets the blocks with
    their scores. A sampler that learns (a generator, a diffusion model, a cache) keeps what it learns in parameters and
    buffers, and steps the ``optimizers`` of its own in ``update``.

    ``synchronised``: names of buffers that are copied from the first to all other processes after each step;
    parameters are averaged.
    """

    synchronised: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        """Why this sampler cannot work with a fusion and an interaction; None where it can."""
        return None

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Optimizers of the sampler's own parameters, by name: a checkpoint holds their state."""
        return {}

    @abstractmethod
    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        """Blocks of negatives for the batch."""

    def further_ids(self) -> Iterable[Tensor]:
        """Ids, beside those of the batch and of its sampled blocks, of entities that ``refine`` or ``update`` reads."""
        return ()

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        """Change or add blocks, knowing the embeddings of the batch's entities, which the loss needs anyway.

        Entities that were neither sampled nor named in ``further_ids`` are not encoded and raise ``IndexError``.
        """
        return blocks

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """Learn from the batch and its refined blocks with their scores, after the model's own step."""

    def selectable(self, epoch: int, epochs: int) -> bool:
        """Whether the model after epoch ``epoch`` (from 0) may be selected; patience counts such epochs alone."""
        return True

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before epoch ``epoch`` (from 0) of ``epochs``."""

    def metrics(self) -> dict[str, float]:
        """What the epoch's log should show of the sampler."""
        return {}
