"""Threads for compiled loops.

The loops are serial, release the GIL and process a range; a pool of Python threads runs one range per thread. Unlike
numba's own threading layers, this can be called from several threads at once (a server) and works after a fork.
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
    """Ranges of even length that cover ``range(length)``, one per torch thread."""
    return balanced(np.arange(length + 1))


def balanced(offsets: np.ndarray) -> list[tuple[int, int]]:
    """Ranges of rows with about equal work, one per torch thread; ``offsets[i]``: total work of the rows before i."""
    count = max(1, min(torch.get_num_threads(), len(offsets) - 1))
    bounds = [bisect_left(offsets, offsets[-1] * (part / count)) for part in range(1, count)]
    return list(pairwise([0, *bounds, len(offsets) - 1]))


def run(calls: Sequence[Callable[[], None]]) -> None:
    """Run all calls in parallel, the first one in this thread."""
    others = [_pool().submit(call) for call in calls[1:]]
    calls[0]()
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="kernel")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has none of its parent's threads
