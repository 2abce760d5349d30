"""``mmkgc schedule``: recurring runs on a cluster."""

import re

import click

from mmkgc.pipeline.cli.recipe import recipe_argument
from mmkgc.pipeline.cli.submit import connect, on_cluster

CRON_FIELDS = 6  # Kubeflow's cron expressions start with the seconds


@click.group()
def schedule() -> None:
    """Run a recipe on a cluster at regular times."""


@schedule.command()
@recipe_argument
@click.argument("cron")
@on_cluster
@click.option("--name", help="The schedule's name (default: the recipe's).")
@click.option("--experiment", help="Kubeflow's experiment (default: the recipe's name).")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value.")
def cron(
    recipe: str, cron: str, host: str | None, namespace: str | None, name: str | None, experiment: str | None,
    settings: tuple[str, ...],
) -> None:  # fmt: skip
    """Run RECIPE at the times of CRON, an expression of five fields (or six, the first one seconds), in UTC.

    The recipe and its data are copied now; later changes on this machine have no effect.

    \b
      mmkgc schedule cron countries "0 3 * * *" --host prod      every night at three
    """
    from mmkgc.pipeline import config
    from mmkgc.pipeline.runners import submission
    from mmkgc.pipeline.runners.kubeflow import patiently

    expression, loaded = _cron(cron), config.load(recipe, settings)
    kubeflow = connect(host, namespace)
    body = patiently(submission.body, loaded, kubeflow, name or loaded.name, experiment, True, {}, seconds=30)
    body |= {"trigger": {"cron_schedule": {"cron": expression}}, "mode": "ENABLE", "max_concurrency": "1"}
    body |= {"no_catchup": True} | ({"namespace": namespace} if namespace else {})
    click.echo(f"schedule {patiently(kubeflow.create_schedule, body, seconds=0)}: {loaded.name} at {expression}")


@schedule.command(name="list")
@on_cluster
def list_(host: str | None, namespace: str | None) -> None:
    """List schedules."""
    from mmkgc.pipeline.runners.kubeflow import patiently

    for each in patiently(connect(host, namespace).schedules, seconds=0):
        times = each.get("trigger", {}).get("cron_schedule", {}).get("cron", "")
        state = str(each.get("status", "")).lower()
        click.echo(f"{each['recurring_run_id']}  {state:<9} {times:<16} {each.get('display_name', '')}")


@schedule.command()
@click.argument("schedule_id")
@on_cluster
def enable(schedule_id: str, host: str | None, namespace: str | None) -> None:
    """Let a disabled schedule start runs again."""
    _switch(schedule_id, "enable", host, namespace)


@schedule.command()
@click.argument("schedule_id")
@on_cluster
def disable(schedule_id: str, host: str | None, namespace: str | None) -> None:
    """Keep a schedule, but let it start no runs."""
    _switch(schedule_id, "disable", host, namespace)


@schedule.command()
@click.argument("schedule_id")
@on_cluster
def delete(schedule_id: str, host: str | None, namespace: str | None) -> None:
    """Delete a schedule; the runs that it started stay."""
    from mmkgc.pipeline.runners.kubeflow import patiently

    patiently(connect(host, namespace).delete_schedule, schedule_id, seconds=0)
    click.echo(f"schedule {schedule_id} is deleted")


def _switch(schedule_id: str, action: str, host: str | None, namespace: str | None) -> None:
    from mmkgc.pipeline.runners.kubeflow import patiently

    patiently(connect(host, namespace).switch_schedule, schedule_id, action, seconds=0)
    click.echo(f"schedule {schedule_id} is {action}d")


def _cron(text: str) -> str:
    """The expression with Kubeflow's six fields; raises UserError if it is invalid."""
    from mmkgc.components.runtime.errors import UserError

    fields = text.split()
    if len(fields) == CRON_FIELDS - 1:
        fields = ["0", *fields]
    if len(fields) != CRON_FIELDS or not all(re.fullmatch(r"[\d*/,\-?A-Za-z]+", field) for field in fields):
        mend = 'five fields, minute hour day month weekday: "0 3 * * *" is every night at three'
        raise UserError(f"cron '{text}'", "this is no cron expression", mend)
    return " ".join(fields)
