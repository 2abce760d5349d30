"""The MLflow model registry: versions, the alias of the served version, and its race-free update.

A version is a LoggedModel whose artifacts hold the bundle in ``artifacts/bundle``. Aliases have no history. A promotion
therefore writes tags on the new version, ``promoted_at`` (milliseconds since 1970) and the gate's decision, and sets
the alias ``previous_<alias>`` on the old version.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mmkgc.components.runtime import digests, embedded_registry, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path
from mmkgc.components.runtime.names import REGISTERED
from mmkgc.components.runtime.quoting import mlflow_literal, sqlite_file
from mmkgc.components.runtime.settings import Settings

BUNDLE_FOLDER = "artifacts/bundle"
DIGEST_TAG = "bundle_digest"
LOCK_SUFFIX = ".promotion-lock"
PROMOTED_AT = "promoted_at"
STALE_SECONDS = 120.0
DESCRIPTION_LENGTH = 5000  # of MLflow's column


class Version(NamedTuple):
    """A registered version of a model; its number is text with every backend."""

    name: str
    version: str
    tags: dict[str, str]


def version_at(name: str, alias: str) -> Version | None:
    """The version of model ``name`` that ``alias`` points to, or None."""
    if file := _embedded():
        with suppress(sqlite3.Error):  # of another version of MLflow, which upgrades it below
            read = embedded_registry.version_at(file, name, alias)
            return Version(name, *read) if read else None
    found = _or_none(lambda: tracking.client().get_model_version_by_alias(name, alias))
    return found and Version(name, str(found.version), found.tags)


def version(name: str, number: str | int) -> Version:
    """Version ``number`` of model ``name``. Raises UserError, listing the existing versions, if there is none."""
    api, given = tracking.client(), str(number)
    is_number = given.isascii() and given.isdecimal() and len(given) < 10  # MLflow fails on others
    if is_number and (found := _or_none(lambda: api.get_model_version(name, given))):
        return Version(name, str(found.version), found.tags)
    versions = tracking.pages(partial(api.search_model_versions, f"name = {mlflow_literal(name)}"))
    exist = sorted(int(version.version) for version in versions)
    mend = f"there are: {', '.join(map(str, exist))}" if exist else _models()
    raise UserError(f"{name} version {number}", "not in the registry", mend)


def logged_model(version: Any) -> str:
    """Id of the LoggedModel of an MLflow version, from its source: SQL registries do not keep its ``model_id``."""
    return str(version.source).rpartition("models:/")[2]


def models() -> Iterator[Any]:
    """All registered models, but for the locks of promotions."""
    api = tracking.client()
    yield from (model for model in tracking.pages(api.search_registered_models) if not model.name.endswith(LOCK_SUFFIX))


def with_alias(alias: str) -> list[str]:
    """Names of the models that have ``alias``, the most recently promoted first.

    A version without the tag ``promoted_at`` counts with the time of its last change.
    """
    promoted = _promoted(alias)
    return sorted(promoted, key=lambda name: (-promoted[name], name))


def _promoted(alias: str) -> dict[str, float]:
    """Time of promotion of each model that has ``alias``, in milliseconds since 1970."""
    if file := _embedded():
        with suppress(sqlite3.Error):
            return embedded_registry.with_alias(file, alias, PROMOTED_AT)
    api = tracking.client()
    promoted: dict[str, float] = {}
    for model in models():
        if alias in model.aliases:
            found = api.get_model_version(model.name, str(model.aliases[alias]))
            promoted[model.name] = float(found.tags.get(PROMOTED_AT) or found.last_updated_timestamp or 0)
    return promoted


def _embedded() -> Path | None:
    """The file of the embedded registry, if there is one."""
    file = sqlite_file(Settings.from_env().tracking_uri)
    return file if file and file.is_file() else None


def version_of(uri: str) -> Version:
    """The version that ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` names. Raises UserError if there is none."""
    name, _, alias = uri.removeprefix(REGISTERED).partition("@")
    name, _, number = name.partition("/")
    if not name or bool(alias) == bool(number):
        raise UserError(uri, "this names no registered model", "write models:/NAME@ALIAS or models:/NAME/VERSION")
    return _at(name, alias) if alias else version(name, number)


def champion_bundle(name: str, alias: str = "champion") -> Path:
    """Folder of the bundle that ``alias`` of model ``name`` points to, downloaded once and checked against its digest.

    Raises UserError if there is no such model, alias or artifact.
    """
    return bundle_of(_at(name, alias))


def _at(name: str, alias: str) -> Version:
    """The version that ``alias`` of model ``name`` points to. Raises UserError if there is none."""
    found = version_at(name, alias)
    if found is None:
        there = name in {model.name for model in models()}
        mend = f"`mmkgc promote {name} VERSION` gives it to a version that passes the gate" if there else _models()
        raise UserError(f"model '{name}'", f"no version has the alias '{alias}'", mend)
    return found


def bundle_of(version: Version) -> Path:
    """Folder of a version's bundle, cached in the scratch folder under its digest."""
    digest = version.tags[DIGEST_TAG]
    kept = Settings.from_env().scratch / "registry" / digest
    if not kept.exists() or digests.of_folder(kept) != digest:
        with atomic_path(kept) as temporary:
            _download(version, temporary)
            if digests.of_folder(temporary) != digest:
                where = f"{version.name} version {version.version}"
                raise UserError(where, "the registered bundle differs from its digest", "register the model again")
    return kept


def _download(version: Version, target: Path) -> None:
    import mlflow

    location = tracking.client().get_model_version_download_uri(version.name, version.version)
    folder = target.parent / "download"
    folder.mkdir()
    fetched = mlflow.artifacts.download_artifacts(f"{location}/{BUNDLE_FOLDER}", dst_path=str(folder))
    Path(fetched).rename(target)


def ensure_model(name: str) -> None:
    """Create the registered model if it does not exist."""
    _create(name, {})


def tag(name: str, number: str, tags: dict[str, Any]) -> None:
    """Write tags of a version; values become text."""
    for key, value in tags.items():
        tracking.client().set_model_version_tag(name, number, key, str(value))


def tell(name: str, number: str, title: str, text: str) -> None:
    """Write a paragraph with a bold ``title`` at the beginning of a version's description; it replaces its like."""
    api, begin = tracking.client(), f"**{title}**: "
    described = api.get_model_version(name, number).description or ""
    if described.startswith(begin):
        described = described.partition("\n\n")[2]
    whole = f"{begin}{text}\n\n{described}"
    api.update_model_version(name, number, whole[:DESCRIPTION_LENGTH])


def move_alias(name: str, alias: str, number: str, expected: str | None, tags: dict[str, Any]) -> bool:
    """Point ``alias`` to version ``number`` if it still points to ``expected``, which becomes ``previous_<alias>``.

    Returns False and changes nothing if another process moved the alias first. The alias is written last, so that the
    tags of the new champion are complete when it becomes visible.
    """
    api = tracking.client()
    with _lock(name):
        current = version_at(name, alias)
        if (current.version if current else None) != expected:
            return False
        if current and current.version != number:
            api.set_registered_model_alias(name, f"previous_{alias}", current.version)
        tag(name, number, tags | {PROMOTED_AT: int(time.time() * 1000)})
        api.set_registered_model_alias(name, alias, number)
    return True


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Mutual exclusion that works with every backend: a registered model is the lock, since creating one twice fails.

    The lock is held for a few calls. A lock older than two minutes was left by a process that died and is removed.
    """
    api, lock = tracking.client(), name + LOCK_SUFFIX
    while not _create(lock, {"purpose": "a promotion is in progress"}):
        held = _or_none(lambda: api.get_registered_model(lock))
        if held and time.time() - held.creation_timestamp / 1000 > STALE_SECONDS:
            _or_none(lambda: api.delete_registered_model(lock))
        time.sleep(0.05)
    try:
        yield
    finally:
        _patiently(lambda: api.delete_registered_model(lock))


def _create(name: str, tags: dict[str, str]) -> bool:
    """Create a registered model; False if it exists, or existed until just now.

    MLflow reads an existing model before it reports the conflict; if the model was deleted meanwhile, it reports that
    the model does not exist.
    """
    from mlflow.exceptions import MlflowException

    try:
        _patiently(lambda: tracking.client().create_registered_model(name, tags=tags))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST"):
            raise
        return False
    return True


def _patiently(call: Callable[[], Any], attempts: int = 50) -> Any:
    """Retry while the database is busy: an embedded database allows one writer at a time."""
    from mlflow.exceptions import MlflowException

    for attempt in range(attempts):
        try:
            return call()
        except MlflowException as error:
            if error.error_code != "TEMPORARILY_UNAVAILABLE" or attempt == attempts - 1:
                raise
            time.sleep(0.1)
    raise AssertionError("unreachable")


def _models() -> str:
    names = [model.name for model in models()]
    return f"registered models: {', '.join(sorted(names))}" if names else "run `mmkgc run countries` first"


def _or_none(call: Callable[[], Any]) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return call()
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST" or "not found" in str(error):
            return None
        raise
