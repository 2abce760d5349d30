"""Raw graph → checked MMKG with a clean development split."""

from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mmkgc.components.dataset import profile
from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.raw import CARD, RawGraph
from mmkgc.components.dataset.readers import read
from mmkgc.components.ingest.check import Checked, check
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.source import opened
from mmkgc.components.kge.graph import Graph
from mmkgc.components.runtime import digests, tracking
from mmkgc.feature_store.storage import Storage, Stored

__all__ = ["IngestConfig", "build", "ingest"]


def ingest(dataset: str, config: IngestConfig, storage: Storage) -> Stored:
    """Check the dataset (bundled name, folder or stored URI) and publish it as an artifact of kind ``graphs``.

    Raises UserError before anything is written if the dataset is invalid.
    """
    mmkg = build(dataset, config, storage)
    info = mmkg.info
    print(profile.summary(info["name"], info["counts"], info["notes"], info["warnings"]), flush=True)
    with TemporaryDirectory() as scratch:
        mmkg.save(Path(scratch) / "graph")
        stored = storage.publish(Path(scratch) / "graph", "graphs")
    _track(dataset, config, mmkg, stored)
    return stored


def build(dataset: str, config: IngestConfig, storage: Storage) -> MMKG:
    """Build the checked graph; only the bytes of images and other files are written to the store."""
    findings = Findings()
    with opened(dataset, storage) as folder:
        raw = read(folder, config.columns)
        checked = check(raw, config, storage, findings)
        outside = config.allow_outside_files
        contents = {
            name: MODALITIES[name].accept(found, raw.entities.keys, raw.folder, storage.put_blob, findings, outside)
            for name, found in raw.contents.items()
        }
        tensors = {name: torch.from_numpy(triples).long() for name, triples in checked.splits.items()}
        certain = checked.confidence
        confidence = None if certain is None else torch.from_numpy(certain)
        graph = Graph(raw.entities, raw.relations, types=raw.types, confidence=confidence, **tensors)
        mmkg = MMKG(graph, contents)
        return replace(mmkg, info=_info(mmkg, raw, checked, findings) | checked.increments)


def _info(mmkg: MMKG, raw: RawGraph, checked: Checked, findings: Findings) -> dict[str, Any]:
    files = [name for name in (CARD, *raw.files) if (raw.folder / name).is_file()]
    return {
        **raw.card.model_dump(include={"name", "source", "licence"}),
        **({"prefixes": raw.card.prefixes} if raw.card.prefixes else {}),
        "counts": profile.counts(raw.entities, raw.relations, checked.splits, mmkg.contents),
        "leakage": checked.leaked,
        **asdict(findings),
        "made_from": {name: digests.of_file(raw.folder / name) for name in files},
    }


def _track(dataset: str, config: IngestConfig, mmkg: MMKG, stored: Stored) -> None:
    info = mmkg.info
    tags = {"leakage": info["leakage"]} if info["leakage"] else {}
    with tracking.step_run("ingest", {"dataset": dataset, **config.model_dump()}, tags) as run:
        run.log_metrics({f"graph/{name}": count for name, count in info["counts"].items()})
        run.log_dataset(info["name"], stored.digest, stored.uri, info["counts"], "ingested")
    if tags and (parent := tracking.parent_run()):
        parent.set_tags(tags)
