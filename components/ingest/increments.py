"""Increments: triples that reviewers have accepted since the dataset was created, added to train, and rejected ones.

An increment is a folder with ``triples.tsv`` (``head relation tail``, keys of the dataset), those that are accepted,
and, if ``mmkgc propose export`` wrote it, ``negatives.tsv``, those that are known to be false, and ``increment.json``:
what proposed the triples and how many were decided.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.lines import read_bytes
from mmkgc.components.dataset.raw import RawGraph, Split
from mmkgc.components.dataset.readers.folder import NEGATIVES, SplitReader
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, shown
from mmkgc.components.runtime.nouns import counted
from mmkgc.feature_store.storage import Storage

TRIPLES, CARD = "triples.tsv", "increment.json"
NAMED = 3  # accepted triples that a note names
NEEDS = f"{TRIPLES}; `mmkgc propose export` writes it"


class Added(NamedTuple):
    """The accepted and the rejected triples of each increment."""

    accepted: list[Split]
    rejected: list[Split]


def add_increments(
    raw: RawGraph,
    train: np.ndarray,
    held_out: Mapping[str, np.ndarray],
    places: Sequence[str],
    storage: Storage,
    findings: Findings,
) -> tuple[np.ndarray, Added, dict[str, Any]]:
    """Append the increments' triples to train; also returns what was read, and the lineage for ``graph.json``.

    The lineage is empty without increments. Raises UserError, with file and line, for a key that the dataset does not
    have and for a held-out triple.
    """
    lineage = []
    added = Added([], [])
    for place in places:
        folder = storage.fetch(place) if "://" in place else Path(place)
        reader = SplitReader(folder, raw.entities.keys, raw.relations.keys, NEEDS, _vocabulary_files(raw))
        split = reader.read(TRIPLES)
        added.accepted.append(split)
        if os.path.lexists(folder / NEGATIVES):
            added.rejected.append(reader.read(NEGATIVES))
        _refuse_held_out(raw, split, held_out)
        rows = np.sort(np.unique(raw.codes(split.triples), return_index=True)[1])
        new = split.triples[rows][~np.isin(raw.codes(split.triples[rows]), raw.codes(train))]
        findings.notes.append(
            f"{counted(len(new), 'accepted triple joins', 'accepted triples join')} train{_named(raw, new)}; "
            f"in it already: {len(split) - len(new):,}."
        )
        card = _card(folder / CARD) if os.path.lexists(folder / CARD) else {}
        lineage.append({"added": len(new), "sha256": digests.of_file(folder / TRIPLES)} | card)
        train = np.concatenate([train, new])
    return train, added, {"increments": lineage} if lineage else {}


def _named(raw: RawGraph, triples: np.ndarray) -> str:
    """The first triples in words."""
    entities, relations = raw.entities.names, raw.relations.names
    words = [shown(f"{entities[h]} {relations[r]} {entities[t]}") for h, r, t in triples[:NAMED].tolist()]
    return f" ({', '.join(words)}{', …' if len(triples) > NAMED else ''})" if words else ""


def _card(path: Path) -> dict[str, Any]:
    """Content of ``increment.json``. Raises UserError if it is not a JSON object."""
    mend = "restore it, or delete it: the triples alone are enough"
    try:
        card = json.loads(read_bytes(path, mend))
    except (ValueError, RecursionError) as error:
        raise UserError(path, "this is not JSON", mend) from error
    if not isinstance(card, dict):
        raise UserError(path, "this is not a JSON object", mend)
    return card


def fingerprint(places: Sequence[str]) -> str:
    """Fingerprint of the increments for a cache key; empty without any.

    Raises UserError if a folder is missing.
    """
    return digests.of_json([_fingerprint(place) for place in places]) if places else ""


def _fingerprint(place: str) -> str:
    if "://" in place:
        return place  # a stored folder never changes
    if not os.path.isfile(Path(place) / TRIPLES):
        raise UserError(f"increment {place}", f"there is no {TRIPLES} in it", f"the folder needs {NEEDS}")
    files = (Path(place) / name for name in (TRIPLES, NEGATIVES, CARD))
    return digests.of_json([[path.name, digests.of_file(path)] for path in files if os.path.isfile(path)])


def _vocabulary_files(raw: RawGraph) -> tuple[str, str]:
    """The dataset's files of entities and relations, for either format."""
    entities, relations = (next(name for name in raw.files if name.startswith(kind)) for kind in ("entit", "relation"))
    return entities, relations


def _refuse_held_out(raw: RawGraph, split: Split, held_out: Mapping[str, np.ndarray]) -> None:
    for name, triples in held_out.items():
        split.lines.refuse_if(
            np.isin(raw.codes(split.triples), raw.codes(triples)),
            lambda row, name=name: f"this triple is in {name}",  # type: ignore[misc]
            "a model cannot be judged by what it was trained on: remove the line",
        )
