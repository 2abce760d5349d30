"""``mmkgc run``: runs every step of the pipeline on this machine, then queries the resulting model."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.processes import Stopped, supervised
from mmkgc.pipeline.cli import summary

if TYPE_CHECKING:
    from mmkgc.pipeline.config import Recipe


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
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.pipeline import config

    loaded = config.load(recipe, settings)
    open_storage()  # raises for an unsupported kind of store before any step runs
    try:
        with supervised():
            _run(loaded, cache=not no_cache, serve=not no_serve)
    except Stopped as stopped:
        click.echo(f"\nstopped by {stopped.signal}; the same command goes on where this one was", err=True)
        raise


def _run(recipe: "Recipe", cache: bool, serve: bool) -> None:
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.pipeline.runners import local

    outputs, fetch = local.run(recipe, cache), open_storage().fetch
    archive = fetch(outputs["archive"])
    _print_data(_read(fetch(outputs["graph"]), "graph.json"))
    for warning in unusable_items(archive):
        click.secho(f"  warning: {warning}", fg="yellow")
    for sentence in recipe.extract.random():
        click.secho(f"  warning: {sentence}", fg="yellow")
    for line in ("", *summary.scores(_read(fetch(outputs["evaluation"]), "metrics.json"))):
        click.echo(line)
    _print_registration(_read(fetch(outputs["registration"]), "registration.json"))
    if serve:
        _ask_torchserve(archive, _read(fetch(outputs["evaluation"]), "completions.json"))
    if recipe.propose.enabled:
        _print_proposal(archive)
    click.echo("\nlook at it:  mmkgc ui          ask it:  mmkgc complete HEAD RELATION          serve it:  mmkgc serve")


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _print_data(info: dict[str, Any]) -> None:
    """Print the notes and warnings of ingest, also if the step came from the cache."""
    for note in info["notes"]:
        click.echo(f"  note: {printable(note)}")
    for warning in info["warnings"]:
        click.secho(f"  warning: {printable(warning)}", fg="yellow")


def unusable_items(archive: Path) -> Iterator[str]:
    """Warnings about entities with unusable items, also if extraction came from the cache."""
    from mmkgc.feature_store.catalog import find
    from mmkgc.feature_store.manifest import Manifest
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.feature_store.parts import FAILED, PARTIAL

    storage = open_storage()
    bundle = storage.fetch(storage.uri(f"bundles/{_read(archive, 'archive.json')['bundle']}"))
    for modality, digest in _read(bundle, "bundle.json")["provenance"]["made_from"]["features"].items():
        counts = Manifest.read(find(digest, storage), storage).counts
        if count := counts.get(FAILED, 0) + counts.get(PARTIAL, 0):
            yield f"{modality} features: items of {count} entities cannot be used (mmkgc features show {digest[:12]})"


def _print_registration(registration: dict[str, Any]) -> None:
    verdict = f"now '{registration['alias']}'" if registration["promoted"] else "not promoted"
    click.echo(f"\nregistered {registration['model']} version {registration['version']}: {verdict}")
    click.echo(f"  {registration['reason']}")


def _print_proposal(archive: Path) -> None:
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.serving.review.proposals import find

    folder = find(open_storage(), _read(archive, "archive.json")["bundle"])
    for line in ("", *(summary.proposal(folder) if folder else ())):
        click.echo(line)
    click.echo("review them:  mmkgc serve, page Proposals")


def _ask_torchserve(archive: Path, completions: list[dict[str, Any]]) -> None:
    """Start TorchServe on the archive, ask it the first test queries, print its answers, and stop it."""
    import httpx

    from mmkgc.serving.torchserve.server import TorchServe

    begun = time.monotonic()
    with TorchServe(next(archive.glob("*.mar"))) as server:
        click.echo(f"\nTorchServe is up after {time.monotonic() - begun:.0f} s; facts that were held out, asked of it:")
        with httpx.Client(timeout=60, trust_env=False) as client:  # no proxy reaches this machine's own address

            def ask(queries: summary.Queries) -> summary.Answers:
                sent = client.post(server.predictions_url, headers=server.headers, json={"queries": queries})
                return sent.raise_for_status().json()["answers"]

            for line in summary.completions(completions, ask):
                click.echo(line)
    click.echo("\nTorchServe stopped.")
