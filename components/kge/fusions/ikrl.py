"""IKRL."""

from typing import Annotated

from pydantic import Field

from mmkgc.components.kge.entity_encoders.base import STRUCTURE
from mmkgc.components.kge.fusions.base import Fusion, Space, Term


class IKRL(Fusion):
    """Four terms with one relation vector: structure–structure, image–image, structure–image, image–structure.

    Xie et al. 2017, eq. 3–6, whose interaction is TransE. An entity's images are given as one mean vector, as in the
    MANS and AdaMF papers, instead of the original's attention over images. ``modality`` can name another feature, such
    as ``textual``.
    """

    def __init__(
        self,
        space: Space,
        *,
        modality: Annotated[str, Field(description="feature used with structure")] = "visual",
    ) -> None:
        super().__init__(space)
        self.use(modality)
        self.modality = modality

    @property
    def terms(self) -> tuple[Term, ...]:
        s, v = STRUCTURE, self.modality
        return (Term(s, s), Term(v, v), Term(s, v, tag="cross"), Term(v, s, tag="cross"))
