"""Sum of the modalities."""

from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Term
from mmkgc.components.kge.tensors import total


class Sum(Fusion):
    """One term over the sum of the modality vectors that are present: features as an offset of the structure."""

    @property
    def terms(self) -> tuple[Term, ...]:
        return (Term("joint", "joint", tag="fused"),)

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        return {"joint": total(map(modal.counted, self.modalities))}
