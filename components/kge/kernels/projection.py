"""Linear projection of frozen features in bfloat16, with few shapes of matrices.

oneDNN, which multiplies bfloat16 matrices on a processor, compiles a product for each new shape and keeps it. Batches
have different numbers of entities, so most steps would compile two. U entities, d width of features, e of embeddings.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from mmkgc.components.kge.kernels.products import ROUND, lowered, missing


def project(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``features[..., d] @ weight[e, d].T + bias[e]``, under autocast in its type."""
    if not lowered(features) or torch.compiler.is_compiling() or features.dim() != 2 or features.requires_grad:
        return linear(features, weight, bias)
    return _Projected.apply(features, weight, bias)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu")
        rows = _filled_up(features, dtype)
        ctx.save_for_backward(rows)
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        return linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))[: len(features)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (rows,) = ctx.saved_tensors
        of_weight, of_bias = ctx.dtypes
        weight = (_filled_up(gradient, rows.dtype).T @ rows).to(of_weight) if ctx.needs_input_grad[1] else None
        return None, weight, gradient.sum(0, dtype=of_bias) if ctx.needs_input_grad[2] else None


def _filled_up(matrix: Tensor, dtype: torch.dtype) -> Tensor:
    """The matrix in this type, with zero rows up to a multiple of ``ROUND``."""
    size = len(matrix) + missing(len(matrix), ROUND)
    filled = matrix.new_empty(size, matrix.shape[1], dtype=dtype)
    filled[: len(matrix)] = matrix
    filled[len(matrix) :] = 0
    return filled
