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


def top_pairs(parts: np.ndarray, rows: np.ndarray, pairs: np.ndarray, k: int) -> np.ndarray:
    """Indices ``[B, ≤ k]`` of the ``pairs`` ``[P, 2]`` with the highest sums of two scores, as ``top_k`` orders them.

    The sum of pair (i, j) for row b is ``parts[rows[b, 0], i] + parts[rows[b, 1], j]``; no array ``[B, P]`` is made.
    """
    best = np.full((len(rows), min(k, len(pairs))), -1, dtype=np.int64)
    run([partial(_top_pairs, parts, rows, pairs, best, *part) for part in ranges(len(rows))])
    return best


@njit()
def _top_k(scores: np.ndarray, best: np.ndarray, first: int, last: int) -> None:
    values = np.empty(best.shape[1], dtype=np.float32)
    for row in range(first, last):
        values[:] = -np.inf
        for column in range(scores.shape[1]):
            _insert(scores[row, column], column, values, best[row])


@njit()
def _top_pairs(parts: np.ndarray, rows: np.ndarray, pairs: np.ndarray, best: np.ndarray, first: int, last: int) -> None:
    values = np.empty(best.shape[1], dtype=np.float32)
    for row in range(first, last):
        values[:] = -np.inf
        heads, tails = parts[rows[row, 0]], parts[rows[row, 1]]
        for pair in range(len(pairs)):
            _insert(heads[pairs[pair, 0]] + tails[pairs[pair, 1]], pair, values, best[row])


@njit()
def _insert(score: float, number: int, values: np.ndarray, numbers: np.ndarray) -> None:
    """Insert a score and its number among the best ones, which descend, if it is one of them."""
    place = len(values) - 1
    if score > values[place]:  # strictly: an earlier number keeps its place in a tie
        while place > 0 and score > values[place - 1]:
            values[place] = values[place - 1]
            numbers[place] = numbers[place - 1]
            place -= 1
        values[place] = score
        numbers[place] = number
