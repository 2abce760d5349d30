"""MANS-V."""

from math import floor
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.kge.entities import STRUCTURE
from components.kge.fusions.base import Fusion
from components.kge.interactions.base import Interaction, Side
from components.kge.negatives.base import Batch, Block, Context, Real, Strategy
from components.kge.negatives.corruption import Corruption, Count, Sides

if TYPE_CHECKING:
    from components.kge.model import Model

Corrupted = list[tuple[Tensor, Side, Tensor]]


class MansV(Strategy):
    """Modality-aware negatives: the positive's structure with the features of another entity.

    Zhang et al. 2023 (MANS), eq. 5–6: the model learns which features belong to an entity. "Visual" in the paper; here
    every feature that the fusion uses is exchanged. Entities are drawn as for normal negatives; where both lack a
    feature, the stand-in is the same and the negative says nothing about it. Two-stage, hybrid and adaptive sampling
    (T, H, A) differ in the ``share`` of such negatives; the rest are normal.
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
    def refusal(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if fusion.modalities == (STRUCTURE,):
            return "the fusion uses structure alone, so a negative with the positive's structure is the positive"
        if fusion.separate:
            return "the fusion scores structure apart, where a negative with the positive's structure is the positive"
        return None

    def share(self, batch: Batch, corrupted: Corrupted, model: "Model") -> float:
        """Share of the batch's negatives that keep the positive's structure, β."""
        return 1.0

    def sample(self, batch: Batch, model: "Model") -> list[Block]:
        corrupted = list(self.corruption(batch, self.count))
        quota = floor(self.share(batch, corrupted, model) * self.count * len(batch))
        return [self._block(batch, quota, *part) for part in corrupted]

    def _block(self, batch: Batch, quota: int, rows: Tensor, side: Side, ids: Tensor) -> Block:
        """The first ``quota`` of all K·B negatives, counted as the released code does, keep the structure."""
        if quota == 0:
            return Block.of(rows, side, Real(ids))
        number = rows.unsqueeze(1) + len(batch) * torch.arange(self.count, device=ids.device)
        gold = (batch.heads if side == "head" else batch.tails)[rows].unsqueeze(1)
        structure = torch.where(number < quota, gold, ids)
        return Block.of(rows, side, Real(structure, dict.fromkeys(self.features, ids)))
