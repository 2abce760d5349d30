"""Twin negatives."""

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, Count, Sides
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock


class Twins(NegativeSampler):
    """The structure of one random entity with the features of another, drawn independently.

    Zhang & Zhang 2022 (VBKGC): structural and multi-modal embeddings get separate negatives, so that a model aligns
    the two. Neither entity makes a train triple. Which of the two each term sees could not be checked in the paper;
    here every term sees the structure of the one and the features of the other.
    """

    def __init__(self, context: Context, *, count: Count = 1, sides: Sides = "uniform") -> None:
        super().__init__()
        self.count, self.corruption = count, Corruption(context, sides)
        self.features = [m for m in context.model.entities.modalities if m != STRUCTURE]

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if STRUCTURE not in fusion.modalities:
            return "it draws structure and features apart; set model.structure: true"
        if fusion.modalities == (STRUCTURE,):
            return "the fusion uses structure alone, so there are no features to draw apart from it"
        return None

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        blocks = []
        for rows, side, ids in self.corruption(batch, self.count):
            others = self.corruption.replacements(batch.triples[rows], side, self.count)
            twins = EntityNegatives(ids, dict.fromkeys(self.features, others))
            blocks.append(NegativeBlock.of(rows, side, twins))
        return blocks
