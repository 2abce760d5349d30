"""``mmkgc gc``: frees what no champion and no recent run needs."""

import click

from mmkgc.pipeline.cli.table import aligned


@click.command()
@click.option("--delete", is_flag=True, help="Delete it; without this, it is only listed.")
@click.option("--keep", default=10, show_default=True, type=click.IntRange(0), help="Newest runs of each experiment.")
@click.option("--grace", default=24.0, show_default=True, type=click.FloatRange(0), metavar="HOURS",
              help="Keep everything that is younger.")  # fmt: skip
def gc(delete: bool, keep: int, grace: float) -> None:
    """List, and with --delete free, what no alias of a model and no recent run needs.

    That is runs, versions without an alias, models, graphs, features, archives, proposals, downloads and checkpoints.
    Features that were imported stay, and decisions of reviews. What is deleted can be made again from its recipe,
    but the figures of deleted runs are lost.
    """
    from contextlib import nullcontext

    from mmkgc.components.runtime.in_use import alone
    from mmkgc.pipeline import housekeeping

    with alone() if delete else nullcontext():
        waste = housekeeping.find(keep, grace)
        rows = waste.table()
        if not rows:
            click.echo("nothing to free: everything belongs to an alias or a recent run")
            return
        if delete:
            housekeeping.free(waste)
    total = sum(size for _, _, size in rows)
    click.echo("\n".join(aligned([(kind, str(count), _megabytes(size)) for kind, count, size in rows])))
    for version in waste.versions:
        click.echo(f"  {version.name} version {version.number}")
    if delete:
        click.echo(f"freed {_megabytes(total)}")
    else:
        click.echo(f"{_megabytes(total)} can be freed: mmkgc gc --delete --keep {keep} --grace {grace:g}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
