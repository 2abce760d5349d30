"""Compiled lookup of candidates that are known answers."""

# mypy: disable-error-code="no-untyped-def, call-arg"

import numpy as np
from numba import njit

from mmkgc.components.kge.kernels.loops.machine_code import compiled

FEW = 32  # up to this number of answers, comparing each candidate with all is faster than binary search


@compiled
def collisions(queries, known, offsets, answers, ids, places):
    """Write the positions of ids that are answers to their row's query; return their number."""
    count = 0
    for b in range(queries.size):
        query = np.searchsorted(known, queries[b])
        if query < known.size and known[query] == queries[b]:
            own = answers[offsets[query] : offsets[query + 1]]
            if own.size < FEW and not _meet(own, ids[b]):
                continue
            for k in range(ids.shape[1]):
                rank = np.searchsorted(own, ids[b, k])
                if rank < own.size and own[rank] == ids[b, k]:
                    places[count] = b * ids.shape[1] + k
                    count += 1
    return count


@compiled
def distinct(ids, position, found, count):
    """Append to ``found[: count]`` the ids that are not there yet; return their number.

    ``position`` holds the place of each id in ``found``. It need not be initialised: a place counts only if ``found``
    holds the id there (the sparse set of Briggs and Torczon 1993).
    """
    for i in range(ids.size):
        place = position[ids[i]]
        if place < 0 or place >= count or found[place] != ids[i]:
            position[ids[i]] = count
            found[count] = ids[i]
            count += 1
    return count


@compiled
def places(ids, position, found, rows):
    """Write the place of each id in ``found`` to ``rows``; return the first index whose id is not there, or −1."""
    lost = -1
    for i in range(ids.size):
        place = position[ids[i]]
        if place < 0 or place >= found.size or found[place] != ids[i]:
            if lost < 0:
                lost = i
            place = 0
        rows[i] = place
    return lost


@njit(inline="always")
def _meet(few, others):
    """Whether two sets have a common member; without branches, so that it is vectorised."""
    pairs = 0
    for one in few:
        for k in range(others.size):
            pairs += one == others[k]
    return pairs > 0
