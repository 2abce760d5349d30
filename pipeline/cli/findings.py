"""The report of ``mmkgc doctor``, and the remedies that it applies."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import click

from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.components.runtime.quoting import masked
from mmkgc.pipeline.cli.remedies import Remedy


class Finding(NamedTuple):
    """One line of the report: whether the check passed, what was found, and how to fix it if it failed.

    ``remedy``: what `mmkgc doctor --fix` does about it, if it can.
    """

    well: bool
    found: str
    mend: str = ""
    remedy: Remedy | None = None


Checks = Mapping[str, Callable[[], Iterator[Finding]]]


def report(checks: Checks) -> list[Finding]:
    """Print the findings of each check, and return those that are not well."""
    failed: list[Finding] = []
    for name, check in checks.items():
        for finding in check():
            mark = click.style("✓", fg="green") if finding.well else click.style("✗", fg="red")
            click.echo(f"{mark} {name:<9}{_one_line(finding.found)}")
            if not finding.well:
                click.echo(f"            → {finding.mend}")
                failed.append(finding)
    return failed


def fix(checks: Checks) -> bool:
    """Report, say what will be done, do it and check again; whether all is well then.

    A remedy that fails is reported, and the others are still applied.
    """
    remedies = _remedies(failed := report(checks))
    if not remedies:
        click.echo("\nnothing that doctor can mend itself" if failed else "\nnothing to mend")
        return not failed
    click.echo("\nthis will be done:")
    for remedy in remedies:
        click.echo(f"  {printable(remedy.words)}")
    click.echo()
    for remedy in remedies:
        try:
            click.echo(f"{click.style('✓', fg='green')} {printable(remedy.apply())}")
        except UserError as error:
            click.echo(f"{click.style('✗', fg='red')} {error}")
    click.echo("\nand now:")
    return not report(checks)


def offer(failed: list[Finding]) -> None:
    """Say what `mmkgc doctor --fix` would do."""
    if remedies := _remedies(failed):
        click.echo("\n`mmkgc doctor --fix` would")
        for remedy in remedies:
            click.echo(f"  {printable(remedy.words)}")


def _remedies(failed: list[Finding]) -> list[Remedy]:
    return [finding.remedy for finding in failed if finding.remedy]


def _one_line(found: str) -> str:
    """``found`` as one printable line without passwords."""
    return printable(masked(" ".join(found.split())))
