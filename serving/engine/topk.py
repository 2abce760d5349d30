"""The k best entries of score rows in a deterministic order."""

from functools import partial

import numpy as np

from mmkgc.components.kge.kernels.loops.machine_code import njit
from mmkgc.components.kge.kernels.threads import ranges, run


def top_k(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the ``k`` highest scores of each row, best first; equal scores by ascending column.

    ``scores`` float32 ``[B, N]``; −inf and NaN are never chosen. Returns int64 ``[B, k]``, filled with −1 where a row
    has fewer than ``k`` finite scores. (``torch.topk`` does not define the order of ties.)
    """
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    best = np.full((len(scores), min(k, scores.shape[1])), -1, dtype=np.int64)
    run([partial(_top_k, scores, best, *part) for part in ranges(len(scores))])
    return best


@njit()
def _top_k(scores: np.ndarray, best: np.ndarray, first: int, last: int) -> None:
    k = best.shape[1]
    values = np.empty(k, dtype=np.float32)
    for row in range(first, last):
        values[:] = -np.inf
        for column in range(scores.shape[1]):
            score = scores[row, column]
            if score > values[k - 1]:  # strictly: an earlier column keeps its place in a tie
                place = k - 1
                while place > 0 and score > values[place - 1]:
                    values[place] = values[place - 1]
                    best[row, place] = best[row, place - 1]
                    place -= 1
                values[place] = score
                best[row, place] = column
