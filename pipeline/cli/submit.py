"""``mmkgc submit``, ``runs``, ``logs``, ``cancel``, ``retry``: runs on a Kubeflow cluster."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from mmkgc.pipeline.cli.recipe import recipe_argument

if TYPE_CHECKING:
    from mmkgc.pipeline.runners.kubeflow import Kubeflow

Command = Callable[..., Any]


def on_cluster(command: Command) -> Command:
    """Add the options that select the cluster."""
    host = click.option("--host", help="Address of Kubeflow Pipelines, or a cluster's name in clusters.yaml.")
    namespace = click.option("--namespace", help="Yours, where Kubeflow has several users.")
    return host(namespace(command))


def connect(host: str | None, namespace: str | None) -> "Kubeflow":
    """Connect to the selected cluster. Raises UserError within seconds if it does not answer."""
    from mmkgc.pipeline.runners import clusters
    from mmkgc.pipeline.runners.kubeflow import Kubeflow, patiently

    cluster = clusters.chosen(host, namespace)
    cluster.enter()
    kubeflow = Kubeflow(cluster)
    patiently(kubeflow.health, seconds=0)
    return kubeflow


def parameters(given: tuple[str, ...]) -> dict[str, str]:
    """``NAME=VALUE`` as a dictionary."""
    from mmkgc.components.runtime.errors import UserError

    for each in given:
        if "=" not in each:
            raise UserError(f"--param {each}", "no value given", "write NAME=VALUE, e.g. code=v2")
    return dict(each.split("=", 1) for each in given)


@click.command()
@recipe_argument
@on_cluster
@click.option("--experiment", help="Kubeflow's experiment (default: the recipe's name).")
@click.option("--run-name", help="The run's name (default: the recipe's name and the time).")
@click.option("--watch/--no-watch", default=True, help="Follow the run to its end; the exit code says how it ended.")
@click.option("--no-cache", is_flag=True, help="Run every step, also those whose inputs have not changed.")
@click.option("--param", "given", multiple=True, metavar="NAME=VALUE", help="Change a parameter of the pipeline.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value.")
def submit(
    recipe: str, host: str | None, namespace: str | None, experiment: str | None, run_name: str | None,
    watch: bool, no_cache: bool, given: tuple[str, ...], settings: tuple[str, ...],
) -> None:  # fmt: skip
    """Run RECIPE, a recipe or a dataset folder, on a Kubeflow cluster.

    Data, weights and other files that the recipe names are first copied to the cluster's store. Ctrl-C asks whether to
    cancel the run.

    \b
      mmkgc submit countries --host prod
      mmkgc submit path/to/folder --host https://kubeflow.example.org/pipeline --namespace team
    """
    from mmkgc.pipeline import config
    from mmkgc.pipeline.runners import outcome, submission
    from mmkgc.pipeline.runners.kubeflow import patiently

    loaded, changed = config.load(recipe, settings), parameters(given)
    kubeflow = connect(host, namespace)
    if warning := outcome.warning():
        click.secho(f"warning: {warning}", fg="yellow", err=True)
    body = patiently(submission.body, loaded, kubeflow, run_name, experiment, not no_cache, changed, seconds=30)
    run_id = patiently(kubeflow.create_run, body, seconds=0)  # no retry: it might create a second run
    click.echo(f"run {run_id}\n  {kubeflow.link(run_id)}")
    if watch:
        sys.exit(_to_the_end(kubeflow, run_id))
    click.echo(f"follow it:  mmkgc logs {run_id} --follow          end it:  mmkgc cancel {run_id}")


@click.command()
@on_cluster
@click.option("--count", "-n", default=20, show_default=True, help="How many, newest first.")
def runs(host: str | None, namespace: str | None, count: int) -> None:
    """List the newest runs of a cluster."""
    from mmkgc.pipeline.runners.kubeflow import patiently

    for run in patiently(connect(host, namespace).runs, count, seconds=0):
        state, begun = str(run.get("state", "")).lower(), str(run.get("created_at", ""))[:19].replace("T", " ")
        click.echo(f"{run['run_id']}  {state:<10} {begun}  {run.get('display_name', '')}")


@click.command()
@click.argument("run_id")
@click.argument("step", required=False)
@on_cluster
@click.option("--follow", is_flag=True, help="Follow the run to its end instead.")
def logs(run_id: str, step: str | None, host: str | None, namespace: str | None, follow: bool) -> None:
    """Print the logs of all steps of RUN_ID, or of STEP only, with every attempt."""
    from mmkgc.components.runtime.errors import UserError, did_you_mean
    from mmkgc.pipeline.runners.kubeflow import patiently
    from mmkgc.pipeline.runners.progress import steps
    from mmkgc.pipeline.runners.watch import line

    kubeflow = connect(host, namespace)
    if follow:
        sys.exit(_to_the_end(kubeflow, run_id))
    found = steps(patiently(kubeflow.run, run_id, seconds=0))
    chosen = [each for each in found if step is None or step in (each.name, each.name.split()[0])]
    if not chosen:
        raise UserError(f"step {step}", "the run has no such step", did_you_mean(str(step), [s.name for s in found]))
    for each in chosen:
        click.secho(line(each), err=True)
        for pod in each.pods:
            click.echo(patiently(kubeflow.log, run_id, pod, seconds=0), nl=False)


@click.command()
@click.argument("run_id")
@on_cluster
def cancel(run_id: str, host: str | None, namespace: str | None) -> None:
    """End the run RUN_ID and its pods."""
    kubeflow = connect(host, namespace)
    _cancel(kubeflow, run_id)


@click.command()
@click.argument("run_id")
@on_cluster
@click.option("--watch/--no-watch", default=True, help="Follow the run to its end.")
def retry(run_id: str, host: str | None, namespace: str | None, watch: bool) -> None:
    """Resume RUN_ID; steps that succeeded are kept."""
    from mmkgc.pipeline.runners.kubeflow import patiently

    kubeflow = connect(host, namespace)
    patiently(kubeflow.retry, run_id, seconds=0)
    click.echo(f"run {run_id} goes on\n  {kubeflow.link(run_id)}")
    if watch:
        sys.exit(_to_the_end(kubeflow, run_id))


def _to_the_end(kubeflow: "Kubeflow", run_id: str) -> int:
    """Follow a run; the exit code: 0 where it succeeded, 1 otherwise, 130 where it was left to itself."""
    from mmkgc.pipeline.runners import outcome
    from mmkgc.pipeline.runners.watch import follow

    try:
        run = follow(kubeflow, run_id)
    except KeyboardInterrupt:
        return _interrupted(kubeflow, run_id)
    state = run["state"]
    outcome.close(run_id, state)
    click.echo(f"\nthe run {state.lower()}" if state != "CANCELED" else "\nthe run was cancelled")
    for text in outcome.lines(run_id):
        click.echo(text)
    click.echo(f"Kubeflow:  {kubeflow.link(run_id)}")
    if state == "FAILED":
        click.echo(f"once its cause is mended:  mmkgc retry {run_id}")
    return 0 if state == "SUCCEEDED" else 1


def _interrupted(kubeflow: "Kubeflow", run_id: str) -> int:
    click.echo("", err=True)
    if sys.stdin.isatty() and click.confirm("cancel the run? (otherwise it goes on without being watched)", err=True):
        _cancel(kubeflow, run_id)
    else:
        click.echo(f"it goes on; follow it:  mmkgc logs {run_id} --follow          end it:  mmkgc cancel {run_id}")
    return 130


def _cancel(kubeflow: "Kubeflow", run_id: str) -> None:
    from mmkgc.pipeline.runners import outcome
    from mmkgc.pipeline.runners.kubeflow import patiently
    from mmkgc.pipeline.runners.watch import follow

    patiently(kubeflow.cancel, run_id, seconds=30)
    run = follow(kubeflow, run_id)
    outcome.close(run_id, run["state"])
    ended = "was cancelled" if run["state"] == "CANCELED" else f"had {run['state'].lower()} before"
    click.echo(f"run {run_id} {ended}")
