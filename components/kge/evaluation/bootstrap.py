"""Bootstrap confidence intervals of metrics over test triples.

The unit of resampling is the triple, not the query: the head and the tail query of a triple are correlated, and
treating them as independent would make intervals too narrow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmkgc.components.kge.evaluation.metrics import QueryRanks, Ties


class Interval(NamedTuple):
    """Bounds of a percentile interval."""

    low: float
    high: float


def mean_metrics(ranks: NDArray[np.float64], ks: Sequence[int]) -> dict[str, NDArray[np.float64]]:
    """Per-query values of the metrics that are means over queries: one array ``[Q]`` per metric."""
    return {"mr": ranks, "mrr": 1 / ranks, **{f"hits_at_{k}": (ranks <= k).astype(np.float64) for k in ks}}


def resampled_means(
    values: NDArray[np.float64], clusters: NDArray[np.int64], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Means of ``values`` ``[Q]`` over ``resamples`` draws of whole clusters with replacement, ``[resamples]``.

    ``clusters`` ``[Q]``: cluster of each query.
    """
    _, cluster = np.unique(clusters, return_inverse=True)
    sums, sizes = np.bincount(cluster, weights=values), np.bincount(cluster)
    rng = np.random.default_rng(seed)
    means = np.empty(resamples)
    for index in range(resamples):
        drawn = rng.integers(len(sums), size=len(sums))
        means[index] = sums[drawn].sum() / sizes[drawn].sum()
    return means


def interval(samples: NDArray[np.float64], confidence: float = 0.95) -> Interval:
    """Percentile interval of bootstrap samples."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def metric_intervals(
    queries: QueryRanks, ks: Sequence[int], ties: Ties, resamples: int, confidence: float, seed: int
) -> dict[str, Interval]:
    """Interval of every metric that is a mean over queries."""
    return {
        name: interval(resampled_means(values, queries.triple, resamples, seed), confidence)
        for name, values in mean_metrics(queries.at(ties), ks).items()
    }
