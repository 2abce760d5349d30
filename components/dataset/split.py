"""The development split: the given one if it is disjoint from train and test, else a share of train."""

import numpy as np

from mmkgc.components.dataset.checks import distinct
from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.runtime.errors import UserError


def develop(
    raw: RawGraph, train: np.ndarray, test: np.ndarray, dev_share: float, seed: int, findings: Findings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return train, a development split disjoint from train and test, and triples used only by the filter.

    A given split that overlaps train or test (as DB15K's does) rewards overfitting: it is used only by the filter, and
    a seeded share of train replaces it. Triples are int64 ``[T, 3]``, without duplicates. Raises UserError if no train
    triple can be removed.
    """
    in_filter = train[:0]
    if raw.valid is None:
        findings.notes.append("There is no development split.")
    else:
        valid = distinct(raw, raw.valid, findings)
        in_train = int(raw.in_train(raw.codes(valid)).sum())
        in_test = int(np.isin(raw.codes(valid), raw.codes(test)).sum())
        if not in_train and not in_test:
            return train, valid, in_filter
        findings.notes.append(
            f"{raw.valid.lines.path.name} cannot select a model: of its {len(valid)} distinct triples {in_train} are "
            f"in train and {in_test} in test. It only serves the filter of known triples."
        )
        in_filter = valid
    chosen = carve(train, dev_share, seed, np.isin(raw.codes(train), raw.codes(test)))
    if not chosen.any():
        what = "no triple can be spared for a development split: each is the last one of an entity or relation"
        raise UserError(raw.train.lines.path, what, "add a valid split that shares no triple with train and test")
    findings.notes.append(
        f"{chosen.sum()} of the {len(train)} train triples ({chosen.mean():.1%}, seed {seed}) become the "
        "development split; every entity and relation stays in train."
    )
    return train[~chosen], train[chosen], in_filter


def carve(triples: np.ndarray, share: float, seed: int, kept: np.ndarray) -> np.ndarray:
    """Choose a random ``share`` of triples ``[T, 3]``, bool ``[T]``; the rest still covers all entities and relations.

    In a random order, the first triple of each entity and of each relation is not chosen, nor are those marked by
    ``kept`` ``[T]``; fewer triples are chosen if necessary.
    """
    order = np.random.default_rng(seed).permutation(len(triples))
    stays = kept[order]
    stays[_first_rows(triples[order][:, [0, 2]])] = True
    stays[_first_rows(triples[order][:, [1]])] = True
    chosen = np.zeros(len(triples), bool)
    chosen[order[~stays][: max(1, round(share * len(triples)))]] = True
    return chosen


def _first_rows(ids: np.ndarray) -> np.ndarray:
    """Row of the first appearance of each value in ``ids`` ``[T, C]``."""
    return np.unique(ids, return_index=True)[1] // ids.shape[1]
