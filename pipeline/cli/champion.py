"""Which model a command is to use: the registry's champion, or a bundle folder."""

from pathlib import Path
from typing import NamedTuple

import click

from mmkgc.components.runtime.errors import UserError


class Chosen(NamedTuple):
    """A bundle on this machine, what to call it, and (if known) the graph that it was trained on."""

    bundle: Path
    name: str
    version: str
    graph_uri: str | None


def choose(name: str | None, alias: str, bundle: Path | None) -> Chosen:
    """The bundle folder if one is given, else the version that ``alias`` of model ``name`` points to.

    Without a name: the model whose alias moved last; which one it is, is told on stderr.
    """
    if bundle is not None:
        return Chosen(bundle, name or "mmkgc", bundle.resolve().name[:12], None)
    from mmkgc.components.runtime import model_registry as registry

    name = name or latest(alias)
    folder = registry.champion_bundle(name, alias)
    version = registry.version_at(name, alias)
    assert version is not None
    click.echo(f"{name} version {version.version} ({alias})", err=True)
    return Chosen(folder, name, version.version, version.tags.get("graph_uri"))


def latest(alias: str) -> str:
    """The model whose ``alias`` moved last; raises ``UserError`` if no model has it."""
    from mmkgc.components.runtime import tracking

    models = [model for model in tracking.client().search_registered_models() if alias in model.aliases]
    if not models:
        mend = "run `mmkgc run countries` first, or give --bundle FOLDER"
        raise UserError("the model registry", f"no model has the alias '{alias}'", mend)
    return max(models, key=lambda model: model.last_updated_timestamp).name
