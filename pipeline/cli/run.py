"""``mmkgc run``: every step of the pipeline on this machine, ended by queries to the model that it made."""

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("recipe")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value, e.g. train.epochs=5."
)
@click.option("--no-cache", is_flag=True, help="Run every step, also those whose inputs have not changed.")
@click.option("--no-serve", is_flag=True, help="Do not start TorchServe at the end.")
def run(recipe: str, settings: tuple[str, ...], no_cache: bool, no_serve: bool) -> None:
    """Run the whole pipeline of RECIPE: a bundled name (`mmkgc list recipes`), a YAML file, or a dataset folder.

    \b
      mmkgc run countries
      mmkgc run countries --set train.epochs=5 --set train.strategy.name=bernoulli
      mmkgc run path/to/folder          TSV or OpenKE; the default recipe
    """
    from pipeline import config
    from pipeline.runners import local

    loaded = config.load(recipe, settings)
    outputs = {name: Path(uri) for name, uri in local.run(loaded, cache=not no_cache).items()}
    _print_metrics(_read(outputs["evaluation"], "metrics.json"), _read(outputs["registration"], "registration.json"))
    if not no_serve:
        _ask_torchserve(outputs["archive"], _read(outputs["evaluation"], "completions.json"))
    click.echo("\nlook at it:  mmkgc ui          ask it:  mmkgc complete HEAD RELATION          serve it:  mmkgc serve")


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))
