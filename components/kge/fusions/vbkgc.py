"""VBKGC."""

from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term
from mmkgc.components.kge.tensors import total


class VBKGC(Fusion):
    """IKRL's four terms with one vector of image and text together: s–s, m–m, s–m, m–s, one relation vector.

    Zhang & Zhang 2022, whose interaction is TransE. Their m is a projection of VisualBERT's joint encoding of image and
    text; that encoder is not included. Here m = W [f_v; f_t] = W_v f_v + W_t f_t, of SBERT's text and the visual
    encoder's image, without features that an entity lacks. Sampler ``twins`` is the paper's.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.features = self.use_all()

    @property
    def terms(self) -> tuple[Term, ...]:
        s, m = STRUCTURE, "features"
        return (Term(s, s), Term(m, m), Term(s, m, tag="cross"), Term(m, s, tag="cross"))

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        return {"features": total(map(modal.counted, self.features))}
