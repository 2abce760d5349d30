"""PairRE."""

from torch import Tensor
from torch.nn.functional import normalize

from mmkgc.components.kge.interactions.base import Init, ProjectionInteraction, Side
from mmkgc.components.kge.interactions.geometry import L1


class PairRE(ProjectionInteraction):
    """−‖ĥ∘r_H − t̂∘r_T‖₁ with unit ĥ, t̂: a relation is a pair of vectors, one per side.

    Chao et al. 2021, eq. 2. A relation vector is [r_H, r_T].
    """

    def __init__(self, dimension: int, *, init: Init = 0.1) -> None:
        super().__init__(dimension, init, relation_width=2 * dimension)
        self.geometry = L1()

    def entity(self, vectors: Tensor) -> Tensor:
        return normalize(vectors, dim=-1)

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        of_head, of_tail = relation.chunk(2, dim=-1)
        return known * (of_head if side == "tail" else of_tail)

    def key(self, candidate: Tensor, relation: Tensor, side: Side) -> Tensor:
        of_head, of_tail = relation.chunk(2, dim=-1)
        return candidate * (of_tail if side == "tail" else of_head)
