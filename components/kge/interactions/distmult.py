"""DistMult."""

from torch import Tensor

from mmkgc.components.kge.interactions.base import Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import Dot
from mmkgc.components.kge.tensors import total_product


class DistMult(QueryInteraction):
    """Σᵢ hᵢ rᵢ tᵢ: a relation weights the coordinates; symmetric in h and t.

    Yang et al. 2015, eq. 2 with a diagonal matrix.
    """

    def __init__(self, dimension: int, *, init: Init = 0.1) -> None:
        super().__init__(dimension, init)
        self.geometry = Dot()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return known * relation

    def score_relations(self, head: Tensor, tail: Tensor, table: Tensor) -> Tensor:
        return (head * tail) @ table.T

    def sum_of_squares(self, heads: Tensor, tails: Tensor, relations: Tensor) -> Tensor:
        """Σᵢⱼ (HᵀH ∘ RᵀR ∘ TᵀT)ᵢⱼ: Li et al. 2021 (NS-KGE), with H = T = E."""
        return total_product(heads.T @ heads, relations.T @ relations, tails.T @ tails)
