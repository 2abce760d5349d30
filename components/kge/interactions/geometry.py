"""Geometries: comparisons of query points with candidates.

q query points, c candidates; each geometry scores pairs, K candidates per query, and all candidates. No tensor of shape
``[B, N, d]`` is created: compiled kernels compare float32 vectors on the CPU, and PyTorch works in blocks otherwise
(float64, a GPU, few vectors). Scores are higher for nearer candidates.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from mmkgc.components.kge import tensors
from mmkgc.components.kge.kernels import comparison
from mmkgc.components.kge.kernels.products import dots, pair_dots

EPSILON = 1e-18  # added under a root: the gradient at zero is 0 instead of NaN, the value changes by 1e-9


class Geometry(ABC):
    """A comparison of points."""

    kernel: ClassVar[comparison.Kind]

    @abstractmethod
    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        """Scores ``[...]`` of ``query[..., d]`` with ``candidate[..., d]``; leading dimensions broadcast."""

    def aligned(self, query: Tensor, candidate: Tensor) -> Tensor:
        """``pairs``, by the kernels if ``query`` and ``candidate`` are ``[b, K or 1, d]``."""
        if query.dim() == candidate.dim() == 3 and len(query) == len(candidate):
            rows, table = query.flatten(0, 1), candidate.flatten(0, 1)
            count = max(query.shape[1], candidate.shape[1])
            if comparison.usable(rows, table, len(query) * count):
                if query.shape == candidate.shape:
                    return comparison.aligned(self.kernel, rows, table).view(query.shape[:2])
                index = torch.arange(len(table)).view(candidate.shape[:2]).expand(-1, count)
                return comparison.candidates(self.kernel, rows, table, index.reshape(len(rows), -1)).view(-1, count)
        return self.pairs(query, candidate)

    def candidates(self, query: Tensor, table: Tensor, index: Tensor) -> Tensor:
        """Scores ``[B, K]`` of ``query[B, d]`` with ``table[index[B, K]]``."""
        if comparison.usable(query, table, index.numel()):
            return comparison.candidates(self.kernel, query, table, index)
        return tensors.gathered(self.pairs, query, table, index)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        """Scores ``[B, N]`` of ``query[B, d]`` with ``table[N, d]``."""
        if comparison.usable(query, table, len(query) * len(table)):
            return comparison.everyone(self.kernel, query, table)
        return self.grid(query, table)

    def grid(self, query: Tensor, table: Tensor) -> Tensor:
        """``everyone`` by PyTorch's operations."""
        return tensors.grid(self.pairs, query, table)


class Dot(Geometry):
    """q·c."""

    kernel = "dot"

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return pair_dots(query, candidate)

    def everyone(self, query: Tensor, table: Tensor) -> Tensor:
        return dots(query, table)


class L1(Geometry):
    """−‖q − c‖₁."""

    kernel = "l1"

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return -(query - candidate).abs().sum(-1)

    def grid(self, query: Tensor, table: Tensor) -> Tensor:
        return -torch.cdist(query, table, p=1)


class L2(Geometry):
    """−‖q − c‖₂."""

    kernel = "l2"

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        return -torch.linalg.vector_norm(query - candidate, dim=-1)

    def grid(self, query: Tensor, table: Tensor) -> Tensor:
        # no matrix product: its cancellation loses half of the digits for near points
        return -torch.cdist(query, table, compute_mode="donot_use_mm_for_euclid_dist")


class Modulus(Geometry):
    """−Σᵢ|qᵢ − cᵢ| of complex coordinates; the first half of a vector is real, the second imaginary."""

    kernel = "modulus"

    def pairs(self, query: Tensor, candidate: Tensor) -> Tensor:
        real, imaginary = (query - candidate).chunk(2, dim=-1)
        return -(real.square() + imaginary.square() + EPSILON).sqrt().sum(-1)
