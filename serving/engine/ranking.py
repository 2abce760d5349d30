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


def marked(ids: np.ndarray, known: tuple[np.ndarray, np.ndarray], n_columns: int) -> np.ndarray:
    """Which of the chosen ``ids`` ``[B, k]`` are known answers, bool ``[B, k]``."""
    rows, columns = known
    codes = np.arange(len(ids))[:, None] * n_columns + ids
    return np.isin(codes, rows * n_columns + columns)
