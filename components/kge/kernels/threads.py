"""Threads for compiled loops.

The loops are serial, release the GIL and work on a range; a pool of Python threads gives each thread a range. Unlike
numba's own threading layers, this may be used from several threads at once (a server) and survives a fork.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch


def ranges(length: int) -> list[tuple[int, int]]:
    """Even ranges that cover ``range(length)``, as many as torch uses threads."""
    return balanced(np.arange(length + 1))


def balanced(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of rows with about equal work, as many as torch uses threads; ``offsets[i]``: work that precedes row i."""
    count = max(1, min(torch.get_num_threads(), len(offsets) - 1))
    bounds = [bisect_left(offsets, offsets[-1] * (part / count)) for part in range(1, count)]
    return list(pairwise([0, *bounds, len(offsets) - 1]))


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Make all calls at once, the first in this thread."""
    others = [_pool().submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="kernel")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has none of its parent's threads
