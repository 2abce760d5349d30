"""The report of ``mmkgc doctor``."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import click

from mmkgc.components.runtime.errors import printable
from mmkgc.components.runtime.quoting import masked


class Finding(NamedTuple):
    """One line of the report: whether the check passed, what was found, and how to fix it if it failed."""

    well: bool
    found: str
    mend: str = ""


def report(checks: Mapping[str, Callable[[], Iterator[Finding]]]) -> bool:
    """Print the findings of each check, and return whether all passed."""
    healthy = True
    for name, check in checks.items():
        for finding in check():
            mark = click.style("✓", fg="green") if finding.well else click.style("✗", fg="red")
            click.echo(f"{mark} {name:<9}{_one_line(finding.found)}")
            if not finding.well:
                click.echo(f"            → {finding.mend}")
                healthy = False
    return healthy


def _one_line(found: str) -> str:
    """``found`` as one printable line without passwords."""
    return printable(masked(" ".join(found.split())))
