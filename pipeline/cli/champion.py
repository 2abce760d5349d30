"""Selects the model of a command: the registry's champion or a bundle folder."""

from pathlib import Path
from typing import NamedTuple

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.names import check_name


class Chosen(NamedTuple):
    """A local bundle, its model name and version, and (if known) the graph that it was trained on."""

    bundle: Path
    name: str
    version: str
    graph_uri: str | None


def choose(name: str | None, alias: str, bundle: Path | None) -> Chosen:
    """The bundle folder if one is given, else the version that ``alias`` of model ``name`` points to.

    Without a name, the model that was promoted last is used. The choice is printed to stderr.
    """
    if name is not None:
        check_name(name, "--name")
    if bundle is not None:
        return Chosen(bundle, name or "mmkgc", bundle.resolve().name[:12], None)
    from mmkgc.components.runtime import model_registry as registry

    name = name or latest(alias)
    version = registry.version_at(name, alias)
    folder = (version and _stored(version.tags[registry.DIGEST_TAG])) or registry.champion_bundle(name, alias)
    assert version is not None
    click.echo(f"{name} version {version.version} ({alias})", err=True)
    return Chosen(folder, name, version.version, version.tags.get("graph_uri"))


def _stored(digest: str) -> Path | None:
    """The bundle in this machine's store, where a run left it; None if it is not there, or was changed."""
    from mmkgc.components.runtime import digests
    from mmkgc.feature_store.opening import open_storage

    folder = Path(open_storage().uri(f"bundles/{digest}"))
    return folder if folder.is_dir() and digests.of_folder(folder) == digest else None


def latest(alias: str) -> str:
    """The model whose ``alias`` was set most recently; raises ``UserError`` if no model has this alias."""
    from mmkgc.components.runtime import model_registry as registry

    models = registry.with_alias(alias)
    if not models:
        mend = "run `mmkgc run countries` first, or give --bundle FOLDER"
        raise UserError("the model registry", f"no model has the alias '{alias}'", mend)
    return models[0]


def others(name: str, alias: str) -> str:
    """Hint for a user who may have meant another model than ``name``; empty if there is no other."""
    from mmkgc.components.runtime import model_registry as registry

    names = [model for model in registry.with_alias(alias) if model != name]
    return f"this is the model '{name}'; --name asks another: {', '.join(names[:10])}" if names else ""
