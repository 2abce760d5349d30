"""Checks of a dataset, and what is found in it, without PyTorch: ``mmkgc run`` shows it before any step begins."""

from typing import Any, NamedTuple

import numpy as np

from mmkgc.components.dataset import profile
from mmkgc.components.dataset.checks import (
    confidence_of,
    distinct,
    false_triples,
    leakage,
    note_files,
    warn_of_unused,
)
from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.dataset.readers import read
from mmkgc.components.dataset.split import develop
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.increments import add_increments
from mmkgc.components.ingest.source import opened
from mmkgc.components.runtime.faults import Faults
from mmkgc.feature_store.storage import Storage


class Checked(NamedTuple):
    """Triples int64 ``[T, 3]`` by split, the number of test triples in train, and the lineage of increments.

    ``splits`` has also the ``false`` triples; ``confidence`` float32 ``[T]`` is of the train triples (None: 1).
    """

    splits: dict[str, np.ndarray]
    confidence: np.ndarray | None
    leaked: int
    increments: dict[str, Any]


def check(raw: RawGraph, config: IngestConfig, storage: Storage, findings: Findings) -> Checked:
    """Check a dataset as read and split it. Raises UserError for invalid data, all faults at once."""
    faults = Faults()
    note_files(raw, findings)
    with faults:
        train = distinct(raw, raw.train, findings)
    with faults:
        test = distinct(raw, raw.test, findings)
    with faults:
        leaked = leakage(raw, config.allow_leakage, findings)
    faults.refuse()
    train, valid, known = develop(raw, train, test, config.dev_share, config.seed, findings)
    held_out = {"the development split": valid, "test": test}
    train, added, increments = add_increments(raw, train, held_out, config.increments, storage, findings)
    truths = [split for split in (raw.train, raw.valid, raw.test, *added.accepted) if split is not None]
    falsehoods = [split for split in (raw.negatives, *added.rejected) if split is not None]
    with faults:
        false = false_triples(raw, falsehoods, truths, findings)
    with faults:
        confidence = confidence_of(raw, train, findings)
    faults.refuse()
    warn_of_unused(raw, findings)
    splits = {"train": train, "valid": valid, "test": test, "known": known, "false": false}
    return Checked(splits, confidence, leaked, increments)


def survey(dataset: str, config: IngestConfig, storage: Storage) -> tuple[str, dict[str, int], Findings]:
    """Name and sizes of a dataset, and what ingest would note of it; writes nothing.

    Images are counted as named, and missing ones are found, but only ingest decodes them. Raises UserError for invalid
    data, all faults at once.
    """
    findings = Findings()
    with opened(dataset, storage) as folder:
        raw = read(folder, config.columns)
        faults = Faults()
        with faults:
            splits = check(raw, config, storage, findings).splits
        for name, contents in raw.contents.items():
            with faults:
                MODALITIES[name].look(contents, raw.folder, findings, config.allow_outside_files)
        faults.refuse()
        return raw.card.name, profile.counts(raw.entities, raw.relations, splits, raw.contents), findings
