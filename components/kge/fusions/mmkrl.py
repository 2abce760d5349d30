"""MMKRL."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import total


class MMKRL(Fusion):
    """The mean of four translation terms between a structural and a multi-modal vector, which are also aligned.

    Lu et al. 2022: e' = P e + b of the structural vector e, m a projection of image and text together; terms e'–e',
    m–m, e'–m, m–e' with one relation vector, whose interaction is TransE; component alignment adds ``weight`` · (mean
    square of e − e' and of P₂ e − m) over the batch's entities. Formulas are those of the AdaMF authors' port: the
    paper's own alignment and its weight were not available. Its adversarial training is sampler ``perturbation``.
    """

    def __init__(
        self, space: Space, *, weight: Annotated[float, Field(ge=0, description="weight of the alignment")] = 1.0
    ) -> None:
        super().__init__(space)
        self.features, self.weight = self.use_all(), weight
        self.own = nn.Linear(space.width, space.width)
        self.aligned = nn.Linear(space.width, space.width, bias=False)

    @property
    def terms(self) -> tuple[Term, ...]:
        e, m = "own", "features"
        return (
            Term(e, e, weight=0.25),
            Term(m, m, weight=0.25),
            Term(e, m, weight=0.25, tag="cross"),
            Term(m, e, weight=0.25, tag="cross"),
        )

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        return {"own": self.own(modal[STRUCTURE]), "features": self._features(modal)}

    def auxiliary(self, modal: ModalityEmbeddings) -> dict[str, Tensor]:
        structure = modal[STRUCTURE]
        gaps = mse_loss(self.own(structure), structure) + mse_loss(self.aligned(structure), self._features(modal))
        return {"alignment": self.weight * gaps}

    def _features(self, modal: ModalityEmbeddings) -> Tensor:
        return total(map(modal.counted, self.features))
