"""Dataset → checked graph with a clean development split."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from mmkgc.components.dataset import profile, tables
from mmkgc.components.dataset.findings import Findings
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.base import Contents
from mmkgc.components.dataset.raw import CARD, RawGraph, Terms
from mmkgc.components.dataset.readers import read
from mmkgc.components.dataset.stream import release_unused
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.ingest.check import Checked, check
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.ingest.source import opened
from mmkgc.components.runtime import digests, tracking
from mmkgc.feature_store.storage import Storage, Stored

if TYPE_CHECKING:
    from mmkgc.components.dataset.mmkg import MMKG

__all__ = ["IngestConfig", "build", "ingest", "read_checked"]


def ingest(dataset: str, config: IngestConfig, storage: Storage) -> Stored:
    """Check the dataset (bundled name, folder or stored URI) and publish it as an artifact of kind ``graphs``.

    Raises UserError before anything is written if the dataset is invalid.
    """
    checked = read_checked(dataset, config, storage)
    info = checked.info
    print(profile.summary(info["name"], info["counts"], info["notes"], info["warnings"]), flush=True)
    with TemporaryDirectory() as scratch:
        checked.save(Path(scratch) / "graph")
        stored = storage.publish(Path(scratch) / "graph", "graphs")
    _track(dataset, config, info, stored)
    return stored


@dataclass(frozen=True)
class CheckedGraph:
    """A graph in the memory of Arrow and NumPy: 12 bytes a triple and the texts of its entities.

    ``contents`` are by modality and, as ``types``, of each entity; ``info`` is that of ``MMKG``.
    """

    entities: Terms
    relations: Terms
    types: Strings | None
    checked: Checked
    contents: Mapping[str, Contents]
    info: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write the files that ``MMKG.load`` reads; the same graph gives the same bytes."""
        release_unused()
        words, relations = (tables.terms(each.keys, each.names) for each in (self.entities, self.relations))
        entities = tables.entities(words, self.types, self.contents)
        tables.write(folder, entities, relations, self.checked.splits, self.checked.confidence, self.info)


def read_checked(dataset: str, config: IngestConfig, storage: Storage) -> CheckedGraph:
    """Read and check a dataset; only the bytes of images and other files are written to the store."""
    findings = Findings()
    with opened(dataset, storage) as folder:
        raw = read(folder, config.columns)
        release_unused()
        checked = check(raw, config, storage, findings)
        outside = config.allow_outside_files
        contents = {
            name: MODALITIES[name].accept(found, raw.entities.keys, raw.folder, storage.put_blob, findings, outside)
            for name, found in raw.contents.items()
        }
        info = _info(raw, checked, contents, findings) | checked.increments
        return CheckedGraph(raw.entities, raw.relations, raw.types, checked, contents, info)


def build(dataset: str, config: IngestConfig, storage: Storage) -> "MMKG":
    """The checked graph as training reads it, not stored."""
    from mmkgc.components.dataset.mmkg import MMKG

    with TemporaryDirectory() as scratch:
        read_checked(dataset, config, storage).save(Path(scratch))
        return MMKG.load(Path(scratch))


def _info(raw: RawGraph, checked: Checked, contents: Mapping[str, Contents], findings: Findings) -> dict[str, Any]:
    files = [name for name in (CARD, *raw.files) if (raw.folder / name).is_file()]
    return {
        **raw.card.model_dump(include={"name", "source", "licence"}),
        **({"prefixes": raw.card.prefixes} if raw.card.prefixes else {}),
        "counts": profile.counts(raw.entities, raw.relations, checked.splits, contents),
        "leakage": checked.leaked,
        **asdict(findings),
        "made_from": {name: digests.of_file(raw.folder / name) for name in files},
    }


def _track(dataset: str, config: IngestConfig, info: Mapping[str, Any], stored: Stored) -> None:
    tags = {"leakage": info["leakage"]} if info["leakage"] else {}
    with tracking.step_run("ingest", {"dataset": dataset, **config.model_dump()}, tags) as run:
        run.log_metrics({f"graph/{name}": count for name, count in info["counts"].items()})
        run.log_dataset(info["name"], stored.digest, stored.uri, info["counts"], "ingested")
    if tags and (parent := tracking.parent_run()):
        parent.set_tags(tags)
