"""Lookup of candidates that are known answers: one pass over the candidates instead of a dozen."""

import numpy as np
import torch
from torch import Tensor


def usable(ids: Tensor) -> bool:
    """Whether the kernel supports these ids."""
    return ids.device.type == "cpu" and not torch.compiler.is_compiling()


def collisions(queries: Tensor, known: Tensor, offsets: Tensor, answers: Tensor, ids: Tensor) -> Tensor:
    """Ascending positions ``[P]`` in the flattened ``ids[B, K]`` of known answers to ``queries[B]``.

    The answers of the query ``known[i]`` (ascending) are the ascending ``answers[offsets[i] : offsets[i + 1]]``.
    """
    from mmkgc.components.kge.kernels.loops import lookup as loops

    arrays = [tensor.contiguous().numpy() for tensor in (queries, known, offsets, answers, ids)]
    places = np.empty(ids.numel(), np.int64)
    return torch.from_numpy(places[: loops.collisions(*arrays, places)].copy())
