"""``mmkgc run``: every step of the pipeline on this machine, ended by queries to the model that it made."""

import json
import time
from pathlib import Path
from typing import Any

import click

ASKED, SHOWN = 100, 5
"""Predictions asked for and shown: known answers are filtered out between the two."""


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
      mmkgc run countries --set train.epochs=5 --set train.negatives.name=mans-h
      mmkgc run mkg-y-adamf-mat         a paper's system on its dataset, which lies in data/ or $MMKGC_DATA
      mmkgc run path/to/folder          TSV or OpenKE; the default recipe
    """
    from mmkgc.feature_store.storage import open_storage
    from mmkgc.pipeline import config
    from mmkgc.pipeline.runners import local

    loaded = config.load(recipe, settings)
    outputs, fetch = local.run(loaded, cache=not no_cache), open_storage().fetch
    _print_data(_read(fetch(outputs["graph"]), "graph.json"))
    _print_metrics(_read(fetch(outputs["evaluation"]), "metrics.json"))
    _print_registration(_read(fetch(outputs["registration"]), "registration.json"))
    if not no_serve:
        _ask_torchserve(fetch(outputs["archive"]), _read(fetch(outputs["evaluation"]), "completions.json"))
    if loaded.propose.enabled:
        click.echo("\nreview the proposals:  mmkgc serve, page Proposals")
    click.echo("\nlook at it:  mmkgc ui          ask it:  mmkgc complete HEAD RELATION          serve it:  mmkgc serve")


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _print_data(info: dict[str, Any]) -> None:
    """What ingest has to say about the data, on every run: a cached step says nothing."""
    for note in info["notes"]:
        click.echo(f"  note: {note}")
    for warning in info["warnings"]:
        click.secho(f"  warning: {warning}", fg="yellow")


def _print_metrics(metrics: dict[str, Any]) -> None:
    rows = {f"model, {side}": metrics["metrics"]["realistic"][side] for side in ("both", "head", "tail")}
    rows["relation popularity, both"] = metrics["baseline"]["both"]
    names = [name for name in rows["model, both"] if name == "mrr" or name.startswith("hits") or name == "mr"]
    click.echo(f"\n{'test split, filtered':<28}" + "".join(f"{name:>11}" for name in names))
    for label, values in rows.items():
        click.echo(f"{label:<28}" + "".join(f"{values[name]:>11.3f}" for name in names))


def _print_registration(registration: dict[str, Any]) -> None:
    verdict = f"now '{registration['alias']}'" if registration["promoted"] else "not promoted"
    click.echo(f"\nregistered {registration['model']} version {registration['version']}: {verdict}")
    click.echo(f"  {registration['reason']}")


def _ask_torchserve(archive: Path, completions: list[dict[str, Any]]) -> None:
    """Start TorchServe on the archive, ask it the first test queries, print its answers, and stop it."""
    import httpx

    from mmkgc.serving.torchserve.server import TorchServe

    begun = time.monotonic()
    with TorchServe(next(archive.glob("*.mar"))) as server:
        click.echo(
            f"\nTorchServe is up after {time.monotonic() - begun:.0f} s; the first test queries, answered by it:"
        )
        asked = ("head", "relation")
        queries = [{part: one[part] for part in asked} | {"k": ASKED, "exclude_known": False} for one in completions]
        answer = httpx.post(server.predictions_url, json={"queries": queries}, timeout=60).raise_for_status().json()
        for completion, given in zip(completions, answer["answers"], strict=True):
            _print_completion(completion, given["predictions"])
    click.echo("\nTorchServe stopped.")


def _print_completion(completion: dict[str, Any], predictions: list[dict[str, Any]]) -> None:
    """The filtered answers: what the graph holds already is left out, but for the gold answer of the test triple."""
    gold = completion["gold"]
    click.echo(f"\n  {completion['query']}")
    candidates = [prediction for prediction in predictions if not prediction["known"] or prediction["name"] == gold]
    for place, prediction in enumerate(candidates, start=1):
        if place <= SHOWN or prediction["name"] == gold:
            mark = click.style("  ← gold", fg="green") if prediction["name"] == gold else ""
            click.echo(f"  {place:>4}. {prediction['name']:<30}{prediction['score']:>9.3f}{mark}")
    if gold not in [prediction["name"] for prediction in candidates]:
        click.echo(f"  {completion['rank']:>4g}. {gold:<30}{'':>9}  ← gold")
