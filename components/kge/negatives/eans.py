"""EANS: entity-aware negatives."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.interactions.base import Side
from mmkgc.components.kge.losses.base import TINY
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides
from mmkgc.components.kge.negatives.proposals import ProposingSampler
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.tensors import at_least_float32

ITERATIONS = 20  # iterations of k-means


class EANS(ProposingSampler):
    """Negatives similar to the positive: entities whose current embeddings lie in or near its cluster.

    Je 2022. Entities are sorted by k-means cluster into a circular order; the position of a negative differs from the
    positive's by a rounded N(0, σ²). K-means uses all modality vectors, concatenated, each modality with mean norm 1,
    and is repeated every ``every`` epochs. Clusters are ordered by the main axis of their centres.

    A negative that scores like its positive may be true. The paper adds a loss that predicts such false negatives and
    lowers their weight; here a negative has weight 1 − λ σ(s⁻ − s⁺) in the loss, which costs a second forward pass. The
    formula of the paper's loss and its K, σ and λ were not available. Memory: 16 bytes per entity, and all vectors
    while k-means runs.
    """

    synchronised = ("order", "position")

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        clusters: Annotated[int, Field(gt=0, description="of k-means, K")] = 100,
        deviation: Annotated[float, Field(gt=0, description="of a negative's position from the positive's, σ")] = 50.0,
        every: Annotated[int, Field(gt=0, description="epochs between two clusterings")] = 5,
        weight: Annotated[
            float, Field(ge=0, le=1, description="λ, by which the weight of a certain false negative is reduced")
        ] = 0.5,
    ) -> None:
        super().__init__(context, count, sides)
        self.clusters, self.deviation, self.every, self.weight = clusters, deviation, every, weight
        everyone = torch.arange(context.n_entities, device=self.random.device)
        self.order: Tensor
        self.position: Tensor
        self.register_buffer("order", everyone)  # the entity at each position
        self.register_buffer("position", everyone.clone())  # the position of each entity
        self.due = True

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.due = epoch % self.every == 0

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        if self.due:
            self._sort(_embeddings(model))
        self.due = False
        return super().sample(batch, model)

    def propose(self, known: Tensor, relations: Tensor, gold: Tensor, side: Side, count: int) -> Tensor:
        size, device = (len(gold), count), gold.device
        steps = (self.deviation * torch.randn(size, generator=self.random, device=device)).round().long()
        return self.order[(self.position[gold].unsqueeze(1) + steps) % len(self.order)]

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        if not self.weight:
            return blocks
        with torch.no_grad():
            scores = score_blocks(model, encoded.detach(), batch.triples, blocks)
            positive, negative = (at_least_float32(score) for score in scores)
            weights = 1 - self.weight * (negative - positive.unsqueeze(1)).sigmoid()
        parts = weights.split([len(block.rows) for block in blocks])
        return [replace(block, negative_weights=part) for block, part in zip(blocks, parts, strict=True)]

    def _sort(self, vectors: Tensor) -> None:
        """Put entities of one cluster, and clusters whose centres are near, next to each other."""
        from sklearn.cluster import KMeans  # imported late: serving a model does not need it

        means = KMeans(min(self.clusters, len(vectors)), n_init=1, max_iter=ITERATIONS, random_state=0)
        labels = torch.from_numpy(means.fit_predict(vectors.cpu().numpy())).long()
        centres = torch.from_numpy(means.cluster_centers_)
        main_axis = torch.linalg.svd(centres - centres.mean(0), full_matrices=False).Vh[0]
        rank = (centres @ main_axis).argsort().argsort()
        self.order.copy_(rank[labels].argsort(stable=True))
        self.position.copy_(self.order.argsort())


@torch.no_grad()
def _embeddings(model: Model) -> Tensor:
    """All modality vectors ``[N, ·]``, as evaluation sees them."""
    training = model.entities.training
    vectors: Sequence[Tensor] = list(model.entities.eval().encode().vectors.values())
    model.entities.train(training)
    norms = [torch.linalg.vector_norm(v, dim=1).mean().clamp(min=TINY) for v in vectors]
    return torch.cat([(v / norm).float() for v, norm in zip(vectors, norms, strict=True)], dim=1)
