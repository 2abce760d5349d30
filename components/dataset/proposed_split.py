"""A split into train, valid and test for a graph that comes without one, from which no test triple can be read off."""

from collections.abc import Sequence

import numpy as np

from mmkgc.components.dataset.patterns import Pattern
from mmkgc.components.kge.vocabulary import HEAD, RELATION, TAIL

HELD_OUT = 0.1
"""Share of the triples in valid, and as many in test."""
MOST = 10_000
"""Triples in valid and in test, at most: as many as the benchmarks have. Ranking more costs more than it tells."""


def propose(triples: np.ndarray, found: Sequence[Pattern], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Split distinct ``triples``, int64 ``[T, 3]``, into train, valid and test; the order stays.

    Triples of one *fact* stay together: those between the same two entities, in either direction, whose relations are
    the same or linked by the patterns ``found``. Every entity and every relation of valid and test is in train: in a
    random order, the first fact of each stays there. Fewer triples are held out if necessary, or none.
    """
    facts = _facts(triples, found)
    place = np.random.default_rng(seed).permutation(facts.max(initial=-1) + 1)[facts]  # of each triple's fact, random
    order = np.argsort(place, kind="stable")
    stays = np.zeros(len(place), bool)
    for columns in ([HEAD, TAIL], [RELATION]):
        ids = triples[order][:, columns]
        first = np.unique(ids, return_index=True)[1] // len(columns)
        stays[place[order[first]]] = True
    free = order[~stays[place[order]]]
    wanted = min(round(HELD_OUT * len(triples)), MOST)
    begins = np.flatnonzero(np.diff(place[free], prepend=-1))  # a fact is never cut
    bounds = np.append(begins, len(free))
    first_end, second_end = (int(bounds[np.abs(bounds - count).argmin()]) for count in (wanted, 2 * wanted))
    if second_end <= first_end and len(begins) > 1:  # few facts: half for each
        first_end, second_end = int(bounds[len(begins) // 2]), len(free)
    held = np.zeros(len(triples), np.int64)
    held[free[:first_end]] = 2
    held[free[first_end:second_end]] = 1
    return triples[held == 0], triples[held == 1], triples[held == 2]


def _facts(triples: np.ndarray, found: Sequence[Pattern]) -> np.ndarray:
    """Number of the fact of each triple, ``[T]``."""
    relations = int(triples[:, RELATION].max(initial=0)) + 1
    group = _groups(relations, found)[triples[:, RELATION]]
    ends = np.sort(triples[:, [HEAD, TAIL]], axis=1)
    entities = int(ends.max(initial=0)) + 1
    return np.unique((ends[:, 0] * relations + group) * entities + ends[:, 1], return_inverse=True)[1]


def _groups(relations: int, found: Sequence[Pattern]) -> np.ndarray:
    """Group of each relation; linked ones are in one."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    rows, columns = [p.relation for p in found], [p.other for p in found]
    links = coo_matrix((np.ones(len(found)), (rows, columns)), (relations, relations))
    return connected_components(links, directed=False)[1]
