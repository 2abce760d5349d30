"""Selects the best candidates of each query, with its filters applied."""

from collections.abc import Sequence

import numpy as np

from mmkgc.serving.engine.resolve import Resolved
from mmkgc.serving.engine.topk import top_k


def best(scores: np.ndarray, known: tuple[np.ndarray, np.ndarray], group: Sequence[Resolved]) -> np.ndarray:
    """Columns ``[B, max k]`` of the best candidates of ``scores`` ``[B, C]``, −1 where there are no more.

    ``known`` are the (row, column) pairs that the graph contains. Modifies ``scores`` in place: known answers that a
    query excludes, and candidates that a query does not allow, get −∞.
    """
    rows, columns = known
    excluded = np.array([query.query.leaves_out("exclude_known") for query in group])[rows]
    scores[rows[excluded], columns[excluded]] = -np.inf
    for row, query in zip(scores, group, strict=True):
        if query.pool is not None:
            inside = row[query.pool]
            row[:] = -np.inf
            row[query.pool] = inside
    return top_k(scores, max(query.query.k for query in group))


def margins(
    scores: np.ndarray, known: tuple[np.ndarray, np.ndarray], chosen: np.ndarray, is_known: np.ndarray
) -> np.ndarray:
    """Each chosen score ``[B, k]`` less that of the query's best other unknown candidate; 0 where there is no other.

    ``scores`` ``[B, C]`` after ``best``; ``is_known``: which of the chosen are known answers.
    """
    unknown = scores.copy()
    unknown[known] = -np.inf
    two = np.full((len(scores), 2), -np.inf)
    count = min(2, scores.shape[1])
    two[:, 2 - count :] = np.sort(np.partition(unknown, -count, axis=1)[:, -count:], axis=1)
    rival = np.where((chosen >= two[:, 1:]) & ~is_known, two[:, :1], two[:, 1:])
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(rival) & np.isfinite(chosen), chosen - rival, 0.0)


def marked(ids: np.ndarray, known: tuple[np.ndarray, np.ndarray], n_columns: int) -> np.ndarray:
    """Which of the chosen ``ids`` ``[B, k]`` are known answers, bool ``[B, k]``."""
    rows, columns = known
    codes = np.arange(len(ids))[:, None] * n_columns + ids
    return np.isin(codes, rows * n_columns + columns)
