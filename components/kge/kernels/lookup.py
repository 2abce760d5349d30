"""Lookups of ids: candidates that are known answers, and the distinct entities of a batch."""

from collections.abc import Sequence

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


def lost(ids: list[int]) -> IndexError:
    """The error for entities that a batch did not encode."""
    return IndexError(f"entities {ids[:5]} were not encoded; a sampler names them in `further_ids`")


class Positions:
    """The distinct ids of a batch in ascending order, and the place of each; the cost does not depend on N."""

    def __init__(self, tensors: Sequence[Tensor], n: int) -> None:
        """``tensors``: int64 ids below ``n``, of any shape."""
        from mmkgc.components.kge.kernels.loops import lookup as loops

        self._position = np.empty(n, np.int32)  # not initialised: only the pages of the ids are touched
        found, count = np.empty(min(n, sum(tensor.numel() for tensor in tensors)), np.int64), 0
        for tensor in tensors:
            count = loops.distinct(tensor.reshape(-1).numpy(), self._position, found, count)
        self._found = np.sort(found[:count])
        self._position[self._found] = np.arange(count, dtype=np.int32)
        self.ids = torch.from_numpy(self._found)

    def of(self, ids: Tensor) -> Tensor:
        """Place of each of ``ids`` (any shape); raises ``IndexError`` for one that is not among the distinct ids."""
        from mmkgc.components.kge.kernels.loops import lookup as loops

        flat, rows = ids.reshape(-1).numpy(), np.empty(ids.numel(), np.int64)
        if loops.places(flat, self._position, self._found, rows) >= 0:
            raise lost(np.setdiff1d(flat, self._found).tolist())
        return torch.from_numpy(rows).view(ids.shape)
