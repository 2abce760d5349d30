"""MANS-V."""

from dataclasses import replace

import torch

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.fusions.base import Fusion, views_of
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock

ROUNDING = 1e-9  # so that 0.3 · 10 is 3 despite floating-point error


class MansV(NegativeSampler):
    """Modality-aware negatives: the positive's structure with the features of another entity.

    Zhang et al. 2023 (MANS), section IV-A, eq. 5–6: the model learns which features belong to an entity. "Visual" in
    the paper; here every feature that the fusion uses is exchanged. Entities are drawn as for normal negatives; if both
    lack a feature, its replacement is the same and the negative carries no information about it. Two-stage, hybrid and
    adaptive sampling (T, H, A) differ in the ``share`` of such negatives; the rest are normal.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
    ) -> None:
        super().__init__()
        self.count, self.corruption = count, Corruption(context, sides)
        self.features = [m for m in context.model.entities.modalities if m != STRUCTURE]

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if STRUCTURE not in fusion.modalities:
            return "it keeps the positive's structure; set model.structure: true"
        if fusion.modalities == (STRUCTURE,):
            return "the fusion uses structure alone, so a negative with the positive's structure is the positive"
        if fusion.separate and STRUCTURE in views_of(fusion.terms):
            return "the fusion scores structure apart, where a negative with the positive's structure is the positive"
        return None

    def share(self) -> float:
        """Share of the negatives that keep the positive's structure, β."""
        return 1.0

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self._mixed(
            batch, self.corruption.blocks(batch, self.count), int(self.share() * self.count * len(batch) + ROUNDING)
        )

    def _mixed(self, batch: Batch, blocks: list[NegativeBlock], quota: int) -> list[NegativeBlock]:
        """Make the first ``quota`` of the K·B negatives of ``blocks`` modality-aware, as in the released code."""
        return [self._aware(batch, block, quota) for block in blocks] if quota else blocks

    def _aware(self, batch: Batch, block: NegativeBlock, quota: int) -> NegativeBlock:
        side, column = (block.head, batch.heads) if block.head else (block.tail, batch.tails)
        assert isinstance(side, EntityNegatives)
        number = block.rows.unsqueeze(1) + len(batch) * torch.arange(self.count, device=block.rows.device)
        structure = torch.where(number < quota, column[block.rows].unsqueeze(1), side.ids)
        mixed = EntityNegatives(structure, dict.fromkeys(self.features, side.ids))
        return replace(block, head=block.head and mixed, tail=block.tail and mixed)
