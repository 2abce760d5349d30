"""Counting of ranks in a matrix of scores: one pass instead of one each for comparison, filter and sum."""

from functools import partial

import torch
from torch import Tensor

from mmkgc.components.kge.kernels.threads import ranges, run

SMALL = 1 << 15  # with fewer scores, PyTorch's own operations are as fast


def usable(scores: Tensor, golds: int) -> bool:
    """Whether the kernel supports these scores with this number of gold answers."""
    plain = scores.device.type == "cpu" and scores.dtype == torch.float32
    return plain and scores.is_contiguous() and golds * scores.shape[1] >= SMALL


def count(scores: Tensor, rows: Tensor, gold: Tensor, answers: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers of better, equal and all candidates beside ``gold[G]`` in ``scores[B, N][rows[G]]``; each ``[G]``.

    ``answers``: pairs (row, entity) of known answers, sorted by row; they are not candidates.
    """
    from mmkgc.components.kge.kernels.loops import counting as loops

    offsets = torch.searchsorted(answers[0], torch.arange(len(scores) + 1))
    better, equal, others = (torch.empty_like(gold) for _ in range(3))
    arrays = [array.contiguous().numpy() for array in (scores.detach(), rows, gold, offsets, answers[1])]
    counts = [array.numpy() for array in (better, equal, others)]
    run([partial(loops.count, *arrays, *counts, *part) for part in ranges(len(gold))])
    return better, equal, others
