"""Softmax cross-entropy of dot products with all rows of a table, with the gradient computed in the forward pass.

Q queries, N rows, P answers. Autograd would keep the scores, their logarithmic softmax and its gradient, each
``[Q, N]`` in float32; here one such matrix is kept, in the type of the matrix products.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmkgc.components.kge.kernels.products import filled_up, padded_dots

ROUND = 64  # queries in lower precision: this many, or a multiple


def dot_cross_entropy(
    query: Tensor, table: Tensor, rows: Tensor, gold: Tensor, weight: Tensor, offset: Tensor | None = None
) -> Tensor:
    """Σ_p weight[p] (log Σ_n exp(q·e_n + o_n) − q·e_gold[p] − o_gold[p]) with q = ``query[rows[p]]``; scalar.

    ``query`` ``[Q, d]``, ``table`` ``[N, d]``; ``rows``, ``gold`` and ``weight`` ``[P]``; ``offset`` o ``[N]``, without
    a gradient, default 0. Under autocast, scores, probabilities and their products have its lower precision; the loss
    is summed in float32.
    """
    return _DotCrossEntropy.apply(query, table, rows, gold, weight, offset)


class _DotCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, table: Tensor, rows: Tensor, gold: Tensor, weight: Tensor, offset: Tensor | None
    ) -> Tensor:
        lower = torch.is_autocast_enabled(query.device.type)
        dtype = torch.get_autocast_dtype(query.device.type) if lower else query.dtype
        queries = filled_up(query, dtype, ROUND) if lower else query  # zero rows have no weight
        entities = table.to(dtype)
        scores = padded_dots(queries, entities)
        if offset is not None:
            scores[:, : len(table)] += offset.to(dtype)
        padded = torch.softmax(scores, dim=1)
        gradient = padded[:, : len(table)]
        chosen = (
            gradient[rows, gold].float().clamp(min=torch.finfo(torch.float32).tiny)
        )  # one that is 0 has a finite loss
        loss = -(weight * chosen.log()).sum()
        mass = weight.new_zeros(len(queries)).index_add(0, rows, weight)
        gradient.mul_(mass.to(dtype).unsqueeze(1))
        gradient.index_put_((rows, gold), -weight.to(dtype), accumulate=True)
        of_query = (gradient @ entities)[: len(query)]
        ctx.save_for_backward(of_query.to(query), (gradient.T @ queries).to(table))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        of_query, of_table = ctx.saved_tensors
        return of_query * scale, of_table * scale, None, None, None, None
