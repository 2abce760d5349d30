"""``mmkgc run``: runs every step of the pipeline on this machine, then queries the resulting model."""

import json
import time
from collections.abc import Container, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmkgc.components.runtime import extras
from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.processes import Stopped, supervised
from mmkgc.components.runtime.quoting import shell
from mmkgc.pipeline.cli import summary, verdict
from mmkgc.pipeline.cli.program import program
from mmkgc.pipeline.cli.recipe import recipe_argument
from mmkgc.pipeline.runners.step_process import StepServer

if TYPE_CHECKING:
    from mmkgc.pipeline.config import Recipe


@click.command()
@recipe_argument
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
    from mmkgc.pipeline import request
    from mmkgc.pipeline.cli import opening

    extras.need("kfp", "mlflow")  # before anything is printed
    asked = request.find(recipe, settings)
    open_storage().reach()  # raises for a store that no step could use
    seen = opening.data(asked.values)
    try:
        with supervised(), StepServer() as server:  # it imports what the steps need while this process goes on
            from mmkgc.pipeline import config

            loaded = config.checked(asked)
            opening.recipe(loaded, asked, recipe, seen.counts)
            command = request.command(recipe, settings)
            _run(loaded, seen.told, server, command, cache=not no_cache, serve=not no_serve)
    except Stopped as stopped:
        click.echo(f"\nstopped by {stopped.signal}; the same command goes on where this one was", err=True)
        raise


def _run(recipe: "Recipe", told: set[str], server: StepServer, command: str, cache: bool, serve: bool) -> None:
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.pipeline.runners import local

    finished, fetch = local.run(recipe, cache, server, command), open_storage().fetch
    outputs = finished.outputs
    archive = fetch(outputs["archive"])
    _print_data(_read(fetch(outputs["graph"]), "graph.json"), told)
    for line in summary.start(_provenance(archive)):
        click.echo(f"  {line}")
    for warning in unusable_items(archive):
        click.secho(f"  warning: {warning}", fg="yellow")
    metrics = _read(fetch(outputs["evaluation"]), "metrics.json")
    for line in ("", *summary.scores(metrics)):
        click.echo(line)
    registration = _read(fetch(outputs["registration"]), "registration.json")
    _print_registration(registration)
    if serve:
        _ask_torchserve(archive, _read(fetch(outputs["evaluation"]), "completions.json"))
    if recipe.propose.enabled:
        _print_proposal(archive)
    click.secho(f"\n{verdict.verdict(metrics, registration)}\n", bold=True)
    report = fetch(outputs["evaluation"]) / "report.html"
    asked = next(iter(_read(fetch(outputs["evaluation"]), "completions.json")), None)
    for line in verdict.next_commands(registration["model"], finished.run_id, report, asked):
        click.echo(line)


def _read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def _print_data(info: dict[str, Any], told: Container[str] = ()) -> None:
    """Print the notes and warnings of ingest, also if the step came from the cache, but for those already told."""
    for note in info["notes"]:
        if note not in told:
            click.echo(f"  note: {printable(note)}")
    for warning in info["warnings"]:
        if warning not in told:
            click.secho(f"  warning: {printable(warning)}", fg="yellow")


def unusable_items(archive: Path) -> Iterator[str]:
    """Warnings about entities with unusable items, also if extraction came from the cache."""
    from mmkgc.feature_store.catalog import find
    from mmkgc.feature_store.manifest import Manifest
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.feature_store.parts import FAILED, PARTIAL

    storage = open_storage()
    for modality, digest in _provenance(archive)["made_from"]["features"].items():
        counts = Manifest.read(find(digest, storage), storage).counts
        if count := counts.get(FAILED, 0) + counts.get(PARTIAL, 0):
            items = f"items of {counted(count, 'entity')} cannot be used"
            yield f"{modality} features: {items} (mmkgc features show {digest[:12]})"


def _provenance(archive: Path) -> dict[str, Any]:
    """What the bundle of an archive was made from, and how."""
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    bundle = storage.fetch(storage.uri(f"bundles/{_read(archive, 'archive.json')['bundle']}"))
    provenance: dict[str, Any] = _read(bundle, "bundle.json")["provenance"]
    return provenance


def _print_registration(registration: dict[str, Any]) -> None:
    verdict = f"now '{registration['alias']}'" if registration["promoted"] else "not promoted"
    click.echo(f"\nregistered {registration['model']} version {registration['version']}: {verdict}")
    click.echo(f"  {registration['reason']}")
    if found := registration.get("feedback"):
        from mmkgc.components.register.feedback import sentences

        for sentence in sentences(found):
            click.echo(f"  {sentence}")


def _print_proposal(archive: Path) -> None:
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.serving.review.proposals import find

    folder = find(open_storage(), _read(archive, "archive.json")["bundle"])
    for line in ("", *(summary.proposal(folder) if folder else ())):
        click.echo(line)
    click.echo(f"review them:  {shell(program(), 'serve')}, page Proposals")


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
