"""TBKGC."""

import torch
from torch import Tensor

from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.fusions.base import Fusion, Space, Term


class TBKGC(Fusion):
    """Five terms with one relation vector: s–s, m–m, s–m, m–s and (s+m)–(s+m); m is half image, half text.

    Mousselly-Sergieh et al. 2018, eq. 5–9, whose interaction is TransE. m = [W_v f_v; W_t f_t], each of half the width:
    the first half of the image's vector and the second half of the text's. The original corrupts head and tail in one
    loss; here that depends on the sampler.
    """

    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.use("visual", "textual")
        if space.width % 2:
            raise ValueError("fusion 'tbkgc' gives half of a vector to images and half to text; take an even dimension")

    @property
    def terms(self) -> tuple[Term, ...]:
        s, m = STRUCTURE, "features"
        crossed = (Term(s, m, tag="cross"), Term(m, s, tag="cross"))
        return (Term(s, s), Term(m, m), *crossed, Term("sum", "sum", tag="fused"))

    def fuse(self, modal: ModalityEmbeddings, relations: Tensor | None) -> dict[str, Tensor]:
        visual, _ = modal["visual"].chunk(2, dim=-1)
        _, textual = modal["textual"].chunk(2, dim=-1)
        features = torch.cat([visual, textual], dim=-1)
        return {"features": features, "sum": modal[STRUCTURE] + features}
