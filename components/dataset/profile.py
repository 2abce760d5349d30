"""Statistics of a graph."""

from collections.abc import Mapping, Sequence, Sized
from typing import Any

import numpy as np

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.raw import blocks
from mmkgc.components.kge.vocabulary import HEAD, TAIL
from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.nouns import counted


def counts(
    entities: Sized,
    relations: Sized,
    splits: Mapping[str, np.ndarray],
    contents: Mapping[str, Sequence[Any]],
) -> dict[str, int]:
    """Sizes of the graph, coverage of its modalities, and test triples with an entity without train triples.

    ``splits``: int64 ``[T, 3]``; ``contents`` has one value per entity for each modality.
    """
    return {
        "entities": len(entities),
        "relations": len(relations),
        **{name: len(splits[name]) for name in ("train", "valid", "test", "known")},
        "unseen_in_test": unseen(splits["train"], splits["test"]),
        **{f"with_{modality.noun}": sum(map(bool, contents[name])) for name, modality in MODALITIES.items()},
    }


def unseen(train: np.ndarray, test: np.ndarray) -> int:
    """Number of test triples with an entity without train triples, which only its modalities can rank."""
    ends = [HEAD, TAIL]
    asked = np.unique(test[:, ends])
    seen = np.zeros(len(asked), bool)
    for triples in blocks(train):
        seen |= np.isin(asked, triples[:, ends])
    return int((~seen[np.searchsorted(asked, test[:, ends])]).any(axis=1).sum())


def summary(name: str, counts: Mapping[str, int], notes: Sequence[str], warnings: Sequence[str]) -> str:
    """A few lines about the graph, with everything that ingest found."""
    n = {key: f"{count:,}" for key, count in counts.items()}
    known = f", {n['known']} known to the filter only" if counts["known"] else ""
    unseen = counted(counts["unseen_in_test"], "test triple has", "test triples have")
    lines = [
        f"{name}: {counted(counts['entities'], 'entity')}, {counted(counts['relations'], 'relation')}",
        f"  triples: {n['train']} train, {n['valid']} valid, {n['test']} test{known}",
        "  modalities: entities with " + ", ".join(f"{m.noun}s {n[f'with_{m.noun}']}" for m in MODALITIES.values()),
        f"  unseen: {unseen} an entity that train never shows",
    ]
    lines += [f"  note: {note}" for note in notes]
    lines += [f"  WARNING: {warning}" for warning in warnings]
    return "\n".join(map(printable, lines))
