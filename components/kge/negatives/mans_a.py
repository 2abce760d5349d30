"""MANS-A."""

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Count, Sides
from mmkgc.components.kge.negatives.mans_v import MansV
from mmkgc.components.kge.negatives.samples import Batch, NegativeBlock
from mmkgc.components.kge.negatives.scoring import score_blocks

Rule = Literal["text", "equation"]
Measured = Literal["positives", "negatives"]


class MansA(MansV):
    """Adaptive: the share β₃ of a batch's negatives is modality-aware, with β₃ measured on the batch itself.

    Zhang et al. 2023 (MANS), eq. 7–8. β₃ is the share of triples on which the cross-modal terms beat the unimodal ones.
    The paper's sentence means the smaller distance (``rule: text``); eq. 7 with F as a score means the smaller score
    (``rule: equation``). Eq. 8 counts positives, the released code the sampled negatives (``measured``). Equal scores
    are not counted.
    """

    def __init__(
        self,
        context: Context,
        *,
        count: Count = 1,
        sides: Sides = "bernoulli",
        rule: Annotated[Rule, Field(description="which reading of eq. 7")] = "text",
        measured: Annotated[Measured, Field(description="on which triples")] = "positives",
    ) -> None:
        super().__init__(context, count=count, sides=sides)
        self.rule, self.measured = rule, measured
        self.betas: list[float] = []  # of each batch of the epoch

    @classmethod
    def incompatibility(cls, fusion: Fusion, interaction: Interaction) -> str | None:
        if not {"uni", "cross"} <= {term.tag for term in fusion.terms}:
            return (
                "it compares cross-modal with unimodal terms, which 'ikrl' has, for instance, and this fusion has not"
            )
        return super().incompatibility(fusion, interaction)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        self.betas = []

    def metrics(self) -> dict[str, float]:
        """Mean β₃ of the epoch."""
        return {"mans_beta": sum(self.betas) / max(1, len(self.betas))}

    def sample(self, batch: Batch, model: Model) -> list[NegativeBlock]:
        return self.corruption.blocks(batch, self.count)

    def refine(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> list[NegativeBlock]:
        wins, measured = self._measure(batch, blocks, encoded, model)
        self.betas.append(wins / measured)
        return self._mixed(batch, blocks, wins * self.count * len(batch) // measured)

    @torch.no_grad()
    def _measure(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model
    ) -> tuple[int, int]:
        """Number of triples on which the cross-modal terms win, and number of all; β₃ is the quotient."""
        cross, uni = (self._mean_scores(batch, blocks, encoded, model, tag) for tag in ("cross", "uni"))
        wins = cross > uni if self.rule == "text" else cross < uni
        return int(wins.sum()), len(wins)

    def _mean_scores(
        self, batch: Batch, blocks: list[NegativeBlock], encoded: EncodedEntities, model: Model, tag: str
    ) -> Tensor:
        """Mean score, over the terms with a tag, of each measured triple, flattened."""
        terms = tuple(term for term in model.fusion.terms if term.tag == tag)
        if self.measured == "positives":
            return model.score_encoded(encoded, batch.triples, terms) / len(terms)
        return score_blocks(model, encoded, batch.triples, blocks, terms)[1].flatten() / len(terms)
