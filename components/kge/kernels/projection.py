"""Linear projection of frozen features in bfloat16, with few shapes of matrices.

Batches have different numbers of entities, so most steps would compile two products. d width of features, e of
embeddings.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from mmkgc.components.kge.kernels.products import ROUND, filled_up, lowered


def project(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``features[..., d] @ weight[e, d].T + bias[e]``, under autocast in its type."""
    if not lowered(features) or torch.compiler.is_compiling() or features.dim() != 2 or features.requires_grad:
        return linear(features, weight, bias)
    return _Projected.apply(features, weight, bias)


class _Projected(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu")
        rows = filled_up(features, dtype, ROUND)
        ctx.save_for_backward(rows)
        ctx.dtypes = weight.dtype, None if bias is None else bias.dtype
        return linear(rows, weight.to(dtype), None if bias is None else bias.to(dtype))[: len(features)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
        (rows,) = ctx.saved_tensors
        of_weight, of_bias = ctx.dtypes
        weight = (filled_up(gradient, rows.dtype, ROUND).T @ rows).to(of_weight) if ctx.needs_input_grad[1] else None
        return None, weight, gradient.sum(0, dtype=of_bias) if ctx.needs_input_grad[2] else None
