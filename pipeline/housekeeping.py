"""What of ``$MMKGC_HOME`` nobody needs any more, and its deletion.

Needed are the newest runs of each experiment, runs that are younger than the grace time or still running, versions
with an alias, and everything that these were made from. All else can be made again from its recipe.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.files import FileModality
from mmkgc.components.runtime import model_registry, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json
from mmkgc.components.runtime.quoting import masked, sqlite_file
from mmkgc.components.runtime.settings import SCHEME, Settings
from mmkgc.feature_store import catalog
from mmkgc.feature_store.manifest import Manifest, digest_of
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage, StoredFile

if TYPE_CHECKING:
    from mlflow.entities import Run

HOUR = 3600.0
FOLDERS = ("graphs", "bundles", "evaluations", "archives", "proposals", "registrations", "searches")
"""Kinds of published folders in the store."""
BUNDLE_TAGS, GRAPH_TAG, EVALUATION_TAG = ("bundle", "bundle_uri"), "graph_uri", "evaluation_uri"
TEMPORARY = ("kfp", "scratch/train", "scratch/cells", "scratch/propose", "scratch/registry", "scratch/search")
"""Folders of outputs, checkpoints, notes of trained cells, and downloads."""


class Version(NamedTuple):
    """A registered version, and the id of the logged model that holds its files."""

    name: str
    number: str
    model_id: str


@dataclass
class Needed:
    """Digests of what must stay."""

    runs: set[str] = field(default_factory=set)
    versions: set[tuple[str, str]] = field(default_factory=set)
    bundles: set[str] = field(default_factory=set)
    graphs: set[str] = field(default_factory=set)
    features: set[str] = field(default_factory=set)
    evaluations: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)


@dataclass
class Waste:
    """What can be deleted. ``folders``: paths by kind."""

    runs: list["Run"]
    versions: list[Version]
    folders: dict[str, list[Path]]
    features: list[str]
    parts: list[StoredFile]
    slabs: list[Path]

    def table(self) -> list[tuple[str, int, int]]:
        """Kind, number and bytes."""
        sizes = {kind: sum(map(_size, paths)) for kind, paths in self.folders.items()}
        artifacts = sum(_size(path) for run in self.runs if (path := _local(run.info.artifact_uri)))
        models = sum(_size(path) for version in self.versions if (path := _model_folder(version)))
        rows = [("runs in MLflow", len(self.runs), artifacts), ("registered versions", len(self.versions), models)]
        rows += [(kind, len(paths), sizes[kind]) for kind, paths in self.folders.items()]
        rows.append(("feature sets", len(self.features), sum(file.bytes for file in self.parts)))
        rows.append(("slabs of features", len(self.slabs), sum(map(_size, self.slabs))))
        return [row for row in rows if row[1]]


def find(keep: int, grace_hours: float) -> Waste:
    """What can be deleted if the newest ``keep`` runs of each experiment stay, and all younger than ``grace_hours``.

    Raises UserError if the store or MLflow is shared with other machines, whose runs are not known here.
    """
    settings = Settings.from_env()
    storage = open_storage()
    if SCHEME in settings.storage.removeprefix("file://") or not sqlite_file(settings.tracking_uri):
        where = masked(settings.storage if sqlite_file(settings.tracking_uri) else settings.tracking_uri)
        mend = "it frees a home of this machine; use the lifecycle rules of the store and `mlflow gc` of the server"
        raise UserError(where, "mmkgc gc does not delete what other machines may use", mend)
    before = time.time() - grace_hours * HOUR
    runs = _runs()
    needed = _needed(runs, keep, before, storage)
    committed = catalog.committed(storage)
    kept = [uri for uri in committed if _is_needed(uri, needed, before, storage)]
    store = Path(storage.root)
    folders = {kind: list(_unneeded(store / kind, kind, needed, before)) for kind in FOLDERS}
    folders["blobs"] = [path for path in (store / "blobs").glob("??/*") if _is_old(path, before, needed.blobs)]
    folders["temporary"] = list(_temporary(settings, needed, before))
    return Waste(
        runs=[run for run in runs if run.info.run_id not in needed.runs],
        versions=[version for version in _versions() if version[:2] not in needed.versions],
        folders=folders,
        features=[uri for uri in committed if uri not in kept],
        parts=catalog.garbage(storage, kept, grace_hours),
        slabs=[slab for slab in catalog.idle_slabs(kept) if slab.stat().st_mtime < before],
    )


def free(waste: Waste) -> None:
    """Delete everything in ``waste``; what cannot be found any more is passed over.

    Order: what points to something goes before what it points to, so that an interruption leaves nothing that leads
    nowhere; the next call goes on.
    """
    storage = open_storage()
    api = tracking.client()
    for version in waste.versions:
        api.delete_model_version(version.name, version.number)
        if version.model_id:
            with suppress(Exception):  # it is gone already
                api.delete_logged_model(version.model_id)
    for run in waste.runs:
        api.delete_run(run.info.run_id)
    _purge(waste)
    for uri in waste.features:
        catalog.forget(uri, storage)
    catalog.remove(waste.parts, waste.slabs, storage)
    for path in (path for paths in waste.folders.values() for path in paths):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _runs() -> "list[Run]":
    """All runs, newest first."""
    api = tracking.client()
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    if not experiments:
        return []
    return list(tracking.pages(partial(api.search_runs, experiments, order_by=["attributes.start_time DESC"])))


def _versions() -> Iterator[Version]:
    for version in tracking.pages(tracking.client().search_model_versions):
        yield Version(version.name, str(version.version), model_registry.logged_model(version))


def _needed(runs: "list[Run]", keep: int, before: float, storage: Storage) -> Needed:
    needed, counts = Needed(), dict[str, int]()
    above = {run.info.run_id: run.data.tags.get(tracking.PARENT_TAG) for run in runs}
    for run in runs:
        if above[run.info.run_id]:
            continue
        count = counts[run.info.experiment_id] = counts.get(run.info.experiment_id, 0) + 1
        young = run.info.start_time / 1000 > before
        if count <= keep or young or run.info.status in ("RUNNING", "SCHEDULED"):
            needed.runs.add(run.info.run_id)
    tops = {run_id: _top(run_id, above) for run_id in above}
    needed.runs |= {run_id for run_id, top in tops.items() if top in needed.runs}
    for run in runs:
        if run.info.run_id in needed.runs:
            _needs(needed, run.data.tags)
    _need_versions(needed, storage, before)
    for digest in set(needed.bundles):
        _need_sources(needed, Path(storage.root) / "bundles" / digest)
    needed.blobs = {blob for digest in needed.graphs for blob in _blobs(Path(storage.root) / "graphs" / digest)}
    return needed


def _top(run_id: str, above: dict[str, str | None]) -> str:
    while (parent := above.get(run_id)) and parent in above:
        run_id = parent
    return run_id


def _needs(needed: Needed, tags: dict[str, str]) -> None:
    needed.bundles |= {_name(tags[tag]) for tag in BUNDLE_TAGS if tag in tags}
    needed.graphs |= {_name(tags[GRAPH_TAG])} if GRAPH_TAG in tags else set()
    needed.evaluations |= {_name(tags[EVALUATION_TAG])} if EVALUATION_TAG in tags else set()


def _need_versions(needed: Needed, storage: Storage, before: float) -> None:
    """Versions with an alias, and those whose bundle a needed run made."""
    aliased = {(model.name, str(number)) for model in model_registry.models() for number in model.aliases.values()}
    for version in tracking.pages(tracking.client().search_model_versions):
        name = version.name, str(version.version)
        if name in aliased or version.run_id in needed.runs or version.creation_timestamp / 1000 > before:
            needed.versions.add(name)
            _needs(needed, version.tags)
            needed.bundles.add(version.tags.get(model_registry.DIGEST_TAG, ""))


def _need_sources(needed: Needed, bundle: Path) -> None:
    """The graph and the features that a bundle was made from."""
    with suppress(OSError, ValueError):
        made_from = read_json(bundle / "bundle.json")["provenance"].get("made_from", {})
        needed.graphs |= {made_from["graph"]} if "graph" in made_from else set()
        needed.features |= set(made_from.get("features", {}).values())


def _blobs(graph: Path) -> Iterator[str]:
    """Digests of the files of a graph's entities."""
    if not (graph / "graph.json").is_file():
        return
    mmkg = MMKG.load(graph)
    for name, modality in MODALITIES.items():
        if isinstance(modality, FileModality):
            for digests in mmkg.content(name):
                yield from digests


def _is_needed(uri: str, needed: Needed, before: float, storage: Storage) -> bool:
    """Whether a feature set stays: a bundle needs it, it was imported, or it is young."""
    if digest_of(uri) in needed.features or Path(uri).stat().st_mtime > before:
        return True
    return bool(Manifest.read(uri, storage).encoder["encoder"] == "imported")


def _unneeded(folder: Path, kind: str, needed: Needed, before: float) -> Iterator[Path]:
    """Published folders of a kind that are old and not needed."""
    about = {"archives": "archive.json", "proposals": "summary.json"}
    kept: dict[str, set[str]] = {
        "graphs": needed.graphs,
        "bundles": needed.bundles,
        "evaluations": needed.evaluations,
    }
    for path in sorted(folder.glob("*")):
        if not _is_old(path, before, kept.get(kind, set())):
            continue
        if kind in about and _value(path / about[kind], "bundle") in needed.bundles:
            continue
        if kind == "registrations":
            version = _value(path / "registration.json", "model"), _value(path / "registration.json", "version")
            if version in needed.versions:
                continue
        yield path


def _value(file: Path, key: str) -> Any:
    with suppress(OSError, ValueError):
        return read_json(file).get(key)
    return None


def _temporary(settings: Settings, needed: Needed, before: float) -> Iterator[Path]:
    for name in TEMPORARY:
        folder = settings.home / name if name == "kfp" else settings.scratch / name.partition("/")[2]
        for path in sorted(folder.glob("*")):
            if _is_old(path, before, needed.bundles):
                yield path


def _is_old(path: Path, before: float, kept: Iterable[str]) -> bool:
    """Whether a path is older than the grace time and not among ``kept``; unfinished work begins with a dot."""
    with suppress(FileNotFoundError):
        return not path.name.startswith(".") and path.name not in kept and path.stat().st_mtime < before
    return False


def _purge(waste: Waste) -> None:
    """Delete the runs and logged models for good, with their artifacts, by MLflow's own command."""
    uri = Settings.from_env().tracking_uri
    ids = {"--run-ids": [run.info.run_id for run in waste.runs]}
    ids["--logged-model-ids"] = [version.model_id for version in waste.versions if version.model_id]
    options = [part for option, given in ids.items() if given for part in (option, ",".join(given))]
    if not options:
        return
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", uri, *options]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError("mlflow gc", last, "the runs are marked as deleted; run `mmkgc gc --delete` again")


def _model_folder(version: Version) -> Path | None:
    with suppress(Exception):
        return _local(tracking.client().get_logged_model(version.model_id).artifact_location)
    return None


def _local(uri: str) -> Path | None:
    return Path(uri.removeprefix("file://")) if uri.startswith(("file://", "/")) else None


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _name(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]
