"""Interface of negative samplers, which choose the entities (of the graph or generated) that corrupt a batch."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.features import Features, TokenFeatures
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.losses.base import Loss
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock, ScoredBlock


@dataclass(frozen=True)
class Context:
    """What a run supplies to the constructor of a sampler; the model is also passed to each call.

    ``graph``: on the CPU; ``train``: its train triples, for filtering, on the device of the run; ``generator``: the
    only source of randomness, whose ``device`` is that of the run. Parameters and buffers are made there, before
    optimizers. ``features``: raw features by modality, for a sampler that compares entities by content.
    """

    model: Model
    graph: Graph
    train: KnownTriples
    generator: torch.Generator
    loss: Loss
    features: Mapping[str, Features | TokenFeatures] = field(default_factory=dict)

    @property
    def n_entities(self) -> int:
        """Number of entities N."""
        return len(self.graph.entities)


class NegativeSampler(nn.Module, ABC):
    """Chooses the negatives of a batch.

    In each step of training: ``sample`` draws blocks; the model encodes their entities and those of ``further_ids``;
    ``refine`` may change the blocks using the embeddings; after the model's step, ``update`` gets the blocks with their
    scores. A sampler that learns (a generator, a diffusion model, a cache) stores its state in parameters and buffers,
    and steps its own ``optimizers`` in ``update``.

    ``synchronised``: names of buffers that are copied from the main process to the others after each step;
    parameters are averaged. ``reads_features``: whether it compares entities by the raw features in its context, which
    the model need not use.
    """

    synchronised: ClassVar[tuple[str, ...]] = ()
    reads_features: ClassVar[bool] = False

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        """Why this sampler is incompatible with a fusion and an interaction; None if it is compatible."""
        return None

    @property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """Optimizers of the sampler's own parameters, by name: a checkpoint holds their state."""
        return {}

    @abstractmethod
    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        """Blocks of negatives for the batch."""

    def further_ids(self) -> Iterable[Tensor]:
        """Ids of entities that ``refine`` or ``update`` reads, in addition to the batch and its sampled blocks."""
        return ()

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        """Change or add blocks, using the embeddings of the batch's entities, which the loss needs anyway.

        Entities that were neither sampled nor named in ``further_ids`` are not encoded and raise ``IndexError``.
        """
        return blocks

    def update(self, batch: Batch, scored: Sequence[ScoredBlock], model: Model) -> None:
        """Learn from the batch and its refined blocks with their scores, after the model's own step.

        Scores are float32 sums of the fusion's terms, higher for likelier triples. With several processes, each has its
        share of the batch; afterwards parameters are averaged (the state of optimizers is not).
        """

    def selectable(self, epoch: int, epochs: int) -> bool:
        """Whether the model after epoch ``epoch`` (from 0) may be selected; patience counts only such epochs."""
        return True

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Called before epoch ``epoch`` (from 0) of ``epochs``."""

    def metrics(self) -> dict[str, float]:
        """Metrics of the sampler, logged for each epoch; their names begin with the sampler's."""
        return {}
