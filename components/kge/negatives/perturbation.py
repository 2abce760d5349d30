"""Adversarial perturbation of positives."""

from dataclasses import replace
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, GeneratedNegatives, NegativeBlock

Ends = tuple[ModalityEmbeddings, ModalityEmbeddings]  # heads and tails, [b, 1, e]


class Perturbation(NegativeSampler):
    """Normal negatives, also of positives whose features are moved in the direction that lowers their score.

    The adversarial training of MMKRL (Lu et al. 2022): the features m of a positive's head and tail become m + δ,
    δ = ε ‖m‖ g/‖g‖ with g the gradient that lowers the positive's score (fast gradient method, Goodfellow et al. 2015).
    The loss with them has factor ``weight``. The formula follows a description, since the paper's was not available;
    0.07 is from the AdaMF authors' port, which adds noise without a gradient. δ itself gets no gradient, structure is
    not moved.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 64,
        sides: Sides = "bernoulli",
        epsilon: Annotated[float, Field(ge=0, description="ε, length of δ as a share of the vector's")] = 0.07,
        weight: Annotated[float, Field(ge=0, description="weight of the loss of perturbed positives")] = 1.0,
    ) -> None:
        super().__init__()
        self.count, self.corruption = count, Corruption(context, sides)
        self.epsilon, self.weight = epsilon, weight

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if set(fusion.modalities) <= {STRUCTURE}:
            return "the fusion uses structure alone, so there are no features to perturb"
        return None

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self.corruption.blocks(batch, self.count)

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        return blocks + [self._perturbed(batch, block, encoded, model) for block in blocks] if self.weight else blocks

    def _perturbed(self, batch: Batch, block: NegativeBlock, encoded: EncodedEntities, model: Model) -> NegativeBlock:
        """The same negatives and triples, with features m + δ of the positives' entities."""
        relations = batch.relations[block.rows].unsqueeze(1)
        columns = (batch.heads[block.rows], batch.tails[block.rows])
        head, tail = (encoded.modal.rows(encoded.index(ids).unsqueeze(1)) for ids in columns)
        first, second = (GeneratedNegatives(moved) for moved in self._moved((head, tail), relations, model))
        return replace(block, name="perturbed", weight=self.weight, positive_head=first, positive_tail=second)

    def _moved(self, ends: Ends, relations: Tensor, model: Model) -> Ends:
        features = [m for m in model.fusion.modalities if m != STRUCTURE]
        leaves = [end.detach() for end in ends]
        moving = [end[m].requires_grad_() for end in leaves for m in features]
        with torch.enable_grad():
            score = model.score_modal(leaves[0], relations, leaves[1])
            gradients = torch.autograd.grad(score.sum(), moving, allow_unused=True)
        steps = iter(self._step(vector, gradient) for vector, gradient in zip(moving, gradients, strict=True))
        head, tail = (
            replace(end, vectors=end.vectors | {m: end[m] + next(steps) for m in features}, ids=None) for end in ends
        )
        return head, tail

    def _step(self, vector: Tensor, gradient: Tensor | None) -> Tensor:
        """δ ``[b, 1, e]``, which lowers the score; zero where the score does not depend on the vector."""
        if gradient is None:
            return torch.zeros_like(vector)
        length, slope = (torch.linalg.vector_norm(v.detach(), dim=-1, keepdim=True) for v in (vector, gradient))
        return -self.epsilon * length * gradient / slope.clamp(min=1e-12)
