"""``mmkgc list``: everything that a recipe can name."""

import click


@click.command()
@click.argument("kind", required=False)
def list_(kind: str | None) -> None:
    """Show what a recipe can name: interactions, fusions, strategies, objectives, encoders, recipes, datasets.

    With KIND, show only that kind, with every hyper-parameter and its default.
    """
    from components.kge import catalog

    click.echo(catalog)


@click.command()
def doctor() -> None:
    """x"""
