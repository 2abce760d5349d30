"""ComplEx."""

import torch
from torch import Tensor, nn

from mmkgc.components.kge.interactions.base import Dropout, Init, QueryInteraction, Side
from mmkgc.components.kge.interactions.geometry import EPSILON, Dot
from mmkgc.components.kge.tensors import total, total_product


def complex_product(left: Tensor, right: Tensor, conjugate: bool = False) -> Tensor:
    """left ∘ right, or left ∘ conj(right), of vectors whose first half is real and second half imaginary."""
    a, b = halves(left)
    c, d = halves(right)
    if conjugate:
        d = -d
    return torch.stack([a * c - b * d, a * d + b * c], dim=-2).flatten(-2)


def halves(vectors: Tensor) -> tuple[Tensor, ...]:
    """Real and imaginary halves ``[..., d]``; the gradient of ``chunk`` would allocate and add two full tensors."""
    return vectors.unflatten(-1, (2, -1)).unbind(-2)


class ComplEx(QueryInteraction):
    """Re⟨h, r, t̄⟩: DistMult over the complex numbers, so that relations may be antisymmetric.

    Trouillon et al. 2016, eq. 9–11. ``dimension`` complex coordinates are twice as many reals. Re⟨h, r, t̄⟩ is the dot
    product of h∘r with t, and of t∘r̄ with h, over the reals.

    ``dropout`` is not in the paper: in training, each query point h∘r or t∘r̄ loses that share of its 2d reals, so every
    query is answered by some of the coordinates alone.
    """

    def __init__(self, dimension: int, *, init: Init = 1e-3, dropout: Dropout = 0.0) -> None:
        super().__init__(dimension, init, entity_width=2 * dimension, relation_width=2 * dimension)
        self.geometry = Dot()
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()  # which draws no random numbers

    def moduli(self, vectors: Tensor) -> Tensor:
        real, imaginary = vectors.chunk(2, dim=-1)
        return (real.square() + imaginary.square() + EPSILON).sqrt()

    def query(self, known: Tensor, relation: Tensor, side: Side) -> Tensor:
        return self.dropout(complex_product(known, relation, conjugate=side == "head"))

    def score_relations(self, head: Tensor, tail: Tensor, table: Tensor) -> Tensor:
        return complex_product(tail, head, conjugate=True) @ table.T  # Re⟨h, r, t̄⟩ = r · (h̄∘t) over the reals

    def sum_of_squares(self, heads: Tensor, tails: Tensor, relations: Tensor) -> Tensor:
        """As in DistMult, for each pair of the four real products whose sum is Re⟨h, r, t̄⟩."""
        of_heads, of_relations, of_tails = heads.T @ heads, relations.T @ relations, tails.T @ tails
        d = self.dimension
        real, imaginary = slice(0, d), slice(d, 2 * d)
        # sign, and which half of h, r and t: rrr + iri + rii − iir
        products = [(1, real, real, real), (1, imaginary, real, imaginary), (1, real, imaginary, imaginary)]
        products.append((-1, imaginary, imaginary, real))
        return total(
            a * b * total_product(of_heads[h, i], of_relations[r, q], of_tails[t, j])
            for a, h, r, t in products
            for b, i, q, j in products
        )
