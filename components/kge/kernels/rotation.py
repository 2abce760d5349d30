"""Rotations of complex coordinates and their gradients, on the CPU, in float32; one pass over memory each."""

from functools import partial

import torch
from torch import Tensor

from mmkgc.components.kge.kernels.threads import ranges, run

SMALL = 1 << 14  # with fewer coordinates, PyTorch's own operations are as fast


def usable(vectors: Tensor, phases: Tensor) -> bool:
    """Whether the kernels support these vectors ``[…, 2d]`` and phases ``[…, d]``."""
    plain = all(tensor.device.type == "cpu" and tensor.dtype == torch.float32 for tensor in (vectors, phases))
    alike = vectors.shape[:-1] == phases.shape[:-1] and phases.dim() > 1
    return plain and alike and phases.numel() >= SMALL and not torch.compiler.is_compiling()


def rotate(vectors: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """``[…, 2d]``: each complex coordinate times e^{i phase}."""
    from mmkgc.components.kge.kernels.loops import rotation as loops

    rotated = vectors.new_empty(vectors.shape)
    arrays = [tensor.flatten(0, -2).contiguous().numpy() for tensor in (vectors, cosines, sines, rotated)]
    run([partial(loops.rotate, *arrays, *part) for part in ranges(len(arrays[0]))])
    return rotated


def pull(gradients: Tensor, cosines: Tensor, sines: Tensor, rotated: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of vectors ``[…, 2d]`` and phases ``[…, d]`` from that of ``rotated``."""
    from mmkgc.components.kge.kernels.loops import rotation as loops

    of_vectors, of_phases = gradients.new_empty(gradients.shape), cosines.new_empty(cosines.shape)
    tensors = (gradients, cosines, sines, rotated, of_vectors, of_phases)
    arrays = [tensor.flatten(0, -2).contiguous().numpy() for tensor in tensors]
    run([partial(loops.pull_rotation, *arrays, *part) for part in ranges(len(arrays[0]))])
    return of_vectors, of_phases
