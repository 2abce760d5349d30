"""Relations that say the same: symmetric, inverse and duplicate ones, and what they reveal of a test split."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from mmkgc.components.kge.vocabulary import HEAD, RELATION, TAIL

SHARE = 0.8
"""Share of a relation's triples that its counterpart repeats, from which the two are a pattern (Akrami et al. 2020)."""
FEWEST = 5
"""Triples of a relation, below which nothing is said about it."""
Kind = Literal["symmetric", "inverse", "duplicate"]


class Pattern(NamedTuple):
    """``share`` of the triples (h, r, t) of ``relation`` has (t, s, h), or (h, s, t) if ``kind`` is duplicate; s is
    ``other``. A symmetric relation is its own inverse.
    """

    kind: Kind
    relation: int
    other: int
    share: float


def patterns(triples: np.ndarray) -> list[Pattern]:
    """The patterns of distinct ``triples``, int64 ``[T, 3]``, in both directions where both hold.

    An inverse is found if it repeats ``SHARE`` of the triples of either relation, a duplicate if of both: it may
    else be a more general relation. Loops (h, r, h) do not count.
    """
    from scipy.sparse import csr_matrix

    triples = np.unique(triples[triples[:, HEAD] != triples[:, TAIL]], axis=0)
    if not len(triples):
        return []
    heads, relations, tails = triples.T
    entities, count = int(triples[:, [HEAD, TAIL]].max()) + 1, int(relations.max()) + 1
    codes = np.concatenate([heads * entities + tails, tails * entities + heads])
    pairs = np.unique(codes, return_inverse=True)[1]
    shape = int(pairs.max()) + 1, count
    ones = np.ones(len(triples), np.int64)
    forward, backward = (csr_matrix((ones, (part, relations)), shape) for part in np.split(pairs, 2))
    sizes = np.bincount(relations, minlength=count)
    inverse, duplicate = (forward.T @ backward).tocoo(), (forward.T @ forward).tocoo()
    found = [
        Pattern("symmetric" if r == s else "inverse", int(r), int(s), float(both / sizes[r]))
        for r, s, both in zip(inverse.row, inverse.col, inverse.data, strict=True)
        if both >= SHARE * min(sizes[r], sizes[s]) and min(sizes[r], sizes[s]) >= FEWEST
    ]
    found += [
        Pattern("duplicate", int(r), int(s), float(both / sizes[r]))
        for r, s, both in zip(duplicate.row, duplicate.col, duplicate.data, strict=True)
        if r != s and both >= SHARE * max(sizes[r], sizes[s]) and min(sizes[r], sizes[s]) >= FEWEST
    ]
    return sorted(found, key=lambda pattern: (pattern.kind, pattern.relation, pattern.other))


def revealed(test: np.ndarray, train: np.ndarray, found: Sequence[Pattern]) -> np.ndarray:
    """Which ``test`` triples ``[T, 3]`` a pattern repeats in ``train`` ``[U, 3]``, bool ``[T]``: such a triple can be
    read off train, so that ranks of it say little about a model.
    """
    answer = np.zeros(len(test), bool)
    if not len(test) or not len(train):
        return answer
    entities = int(max(test[:, [HEAD, TAIL]].max(), train[:, [HEAD, TAIL]].max())) + 1
    count = int(max(test[:, RELATION].max(), train[:, RELATION].max(), *(p.other for p in found), 0)) + 1

    def codes(heads: np.ndarray, relations: np.ndarray | int, tails: np.ndarray) -> np.ndarray:
        return (heads * count + relations) * entities + tails

    known = codes(*train.T)
    for pattern in found:
        rows = np.flatnonzero(test[:, RELATION] == pattern.relation)
        heads, tails = test[rows, HEAD], test[rows, TAIL]
        if pattern.kind != "duplicate":
            heads, tails = tails, heads
        answer[rows] |= np.isin(codes(heads, pattern.other, tails), known)
    return answer
