"""Follows a Kubeflow run until it ends: one line per step, and the log of failed steps."""

import sys
import time
from collections.abc import Callable
from typing import Any

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.runners.kubeflow import ENDED, Kubeflow, Unavailable, patiently
from mmkgc.pipeline.runners.progress import Step, steps

POLL_SECONDS = 3.0
LOG_LINES = 15
KFP_BEGINS = " {}[]"
"""First characters of the lines that kfp's executor prints."""
MARKS = {
    "pending": ("·", None), "running": ("▸", "cyan"), "succeeded": ("✓", "green"), "cached": ("=", "green"),
    "skipped": ("-", None), "failed": ("✗", "red"), "canceling": ("▸", "yellow"), "canceled": ("✗", "yellow"),
}  # fmt: skip
SAID = {"cached": "unchanged, from the cache", "skipped": "not needed", "pending": ""}


def follow(kubeflow: Kubeflow, run_id: str) -> dict[str, Any]:
    """Show the run's steps until it ends, and return the run. Outages of a few minutes are tolerated."""
    table = Table()
    while True:
        run = patiently(kubeflow.run, run_id, pause=POLL_SECONDS, tell=table.note)
        found = steps(run)
        table.show(found, lambda step: last_line(log_of(kubeflow, run_id, step)))
        if run.get("state") in ENDED:
            for step in found:
                if step.state == "failed":
                    _explain(kubeflow, run_id, step)
            return run
        time.sleep(POLL_SECONDS)


class Table:
    """Prints steps to stderr: on a terminal a table that is updated, else a line when a step begins or ends."""

    def __init__(self) -> None:
        self.live = sys.stderr.isatty()
        self._height, self._noted = 0, ""
        self._told: dict[str, tuple[str, int]] = {}

    def show(self, found: list[Step], last_line: Callable[[Step], str]) -> None:
        """Print the current state of the steps."""
        self._noted = ""
        if self.live:
            lines = [line(step, last_line(step) if step.state == "running" else "") for step in found]
            self._draw(lines)
            return
        for step in found:
            if step.state != "pending" and self._told.get(step.name) != (step.state, len(step.pods)):
                self._told[step.name] = (step.state, len(step.pods))
                click.echo(line(step), err=True)

    def note(self, text: str) -> None:
        """Print a message such as that the cluster does not answer, once."""
        if text != self._noted:
            click.secho(f"  {text}; trying again", fg="yellow", err=True)
            self._noted, self._height = text, 0

    def _draw(self, lines: list[str]) -> None:
        up = f"\033[{self._height}A" if self._height else ""
        click.echo(up + "".join(f"\r\033[K{text}\n" for text in lines), nl=False, err=True)
        self._height = len(lines)


def line(step: Step, last: str = "") -> str:
    """Format a step: mark, name, duration, number of attempts if several, and the last line of its log."""
    mark, colour = MARKS.get(step.state, ("?", None))
    took = SAID.get(step.state, f"{step.seconds:7.1f} s" if step.seconds is not None else "")
    attempts = f"  attempt {len(step.pods)}" if len(step.pods) > 1 else ""
    return f"{click.style(mark, fg=colour)} {step.name:<18}{took}{attempts}  {last[:80]}".rstrip()


def log_of(kubeflow: Kubeflow, run_id: str, step: Step) -> str:
    """Log of the step's last pod; empty if there is no pod or it was deleted."""
    if not step.pods:
        return ""
    try:
        return kubeflow.log(run_id, step.pods[-1])
    except (UserError, Unavailable):
        return ""


def refusal(log: str) -> str | None:
    """The message of the last UserError in a log; None if there is none."""
    found = [text.partition("UserError: ")[2] for text in log.splitlines() if "UserError: " in text]
    return found[-1] if found else None


def last_line(log: str) -> str:
    """The last line printed by the step itself; kfp's executor starts every log with the step's input as JSON."""
    said = [text for text in log.splitlines() if text.strip() and text[0] not in KFP_BEGINS]
    return said[-1].strip() if said else ""


def _explain(kubeflow: Kubeflow, run_id: str, step: Step) -> None:
    log = log_of(kubeflow, run_id, step)
    sentence = refusal(log)
    click.secho(f"\n{step.name}: {sentence or step.error or 'failed'}", fg="red", err=True)
    if sentence is None and log:
        click.echo("\n".join(f"  {text}" for text in log.splitlines()[-LOG_LINES:]), err=True)
    click.echo(f"  the whole log:  mmkgc logs {run_id} {step.name.split()[0]}", err=True)
