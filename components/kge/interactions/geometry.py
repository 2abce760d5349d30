"""Geometries: how a query point is compared with candidates. The place for fast kernels.

q query points, c candidates; each geometry answers for pairs, for K candidates a query, and for all candidates. Nothing
of shape ``[B, N, d]`` is made; scores are higher for nearer candidates.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from components.kge import tensors

EPSILON = 1e-18  # under a root: its gradient at zero is 0 instead of NaN, its value moves by 1e-9


class Geometry(ABC):
    """A comparison of points."""

    @abstractmethod
    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        """Scores ``[...]`` of ``query[..., d]`` with ``candidate[..., d]``; leading dimensions broadcast."""

    def candidates(self, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
        """Scores ``[B, K]`` of ``query[B, d]`` with ``table[index[B, K]]``."""
        return tensors.gathered(self.pairs, query, table, index)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        """Scores ``[B, N]`` of ``query[B, d]`` with ``table[N, d]``."""
        return tensors.grid(self.pairs, query, table)


class Dot(Geometry):
    """q·c."""

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return torch.einsum("...d,...d->...", query, candidate)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        return query @ table.T


class L1(Geometry):
    """−‖q − c‖₁."""

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return -(query - candidate).abs().sum(-1)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        return -torch.cdist(query, table, p=1)


class L2(Geometry):
    """−‖q − c‖₂."""

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(query - candidate, dim=-1)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        # without the matrix product, whose cancellation costs half the digits of near points
        return -torch.cdist(query, table, compute_mode="donot_use_mm_for_euclid_dist")


class Modulus(Geometry):
    """−Σᵢ|qᵢ − cᵢ| of complex coordinates; the first half of a vector is real, the second imaginary."""

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        real, imaginary = (query - candidate).chunk(2, dim=-1)
        return -(real.square() + imaginary.square() + EPSILON).sqrt().sum(-1)
