"""Attention over modalities and its gradient, on the CPU, in float32; one pass over memory each, except for tanh."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmkgc.components.kge.kernels.threads import ranges, run
from mmkgc.components.kge.tensors import total

SMALL = 1 << 17  # with fewer coordinates per modality, PyTorch's own operations are as fast


def usable(weights: Tensor, vectors: Sequence[Tensor]) -> bool:
    """Whether the kernels support weights ``[M, d]`` and the vectors ``[…, d]`` of each of M modalities."""
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in (weights, *vectors))
    alike = vectors[0].dim() > 1 and all(tensor.shape == vectors[0].shape for tensor in vectors)
    return plain and alike and vectors[0].numel() >= SMALL and not torch.compiler.is_compiling()


def attend(weights: Tensor, present: Tensor, vectors: Sequence[Tensor], absent: float) -> Tensor:
    """``[…, d]``: Σₘ αₘ vₘ, α = softmaxₘ(wₘ · tanh(vₘ)); logit ``absent`` where ``present[…, M]`` is false."""
    return _Attention.apply(weights, present, absent, *vectors)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, present: Tensor, absent: float, *vectors: Tensor) -> Tensor:
        from mmkgc.components.kge.kernels.loops import attention as loops

        saturated = [vector.tanh() for vector in vectors]
        joint = vectors[0].new_empty(vectors[0].shape)
        shares = joint.new_empty(joint.numel() // joint.shape[-1], len(vectors))
        ctx.save_for_backward(weights, present, shares, *vectors, *saturated)
        arrays = (weights.numpy(), _rows(present), _each(vectors), _each(saturated), shares.numpy(), _rows(joint))
        run([partial(loops.attend, *arrays, absent, *part) for part in ranges(len(shares))])
        return joint

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from mmkgc.components.kge.kernels.loops import attention as loops

        weights, present, shares, *both = ctx.saved_tensors
        vectors, saturated = both[: len(weights)], both[len(weights) :]
        parts = ranges(len(shares))
        of_weights = weights.new_empty(len(parts), *weights.shape)
        of_vectors = [vector.new_empty(vector.shape) for vector in vectors]
        given = (weights.numpy(), _rows(present), _each(vectors), _each(saturated), shares.numpy(), _rows(gradient))
        made, own = _each(of_vectors), of_weights.numpy()
        run([partial(loops.pull_attention, *given, made, own[i], *part) for i, part in enumerate(parts)])
        return total(of_weights), None, None, *of_vectors


def _each(vectors: Sequence[Tensor]) -> tuple[np.ndarray, ...]:
    return tuple(_rows(vector) for vector in vectors)


def _rows(tensor: Tensor) -> np.ndarray:
    return tensor.detach().flatten(0, -2).contiguous().numpy()
