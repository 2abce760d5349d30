"""The argument RECIPE of a command."""

from typing import Any

import click

from mmkgc.pipeline.request import refuse_unknown


def _known(context: click.Context, argument: click.Parameter, name: str) -> str:
    """Refuse an unknown name here, before the command imports PyTorch to check the recipe's values."""
    refuse_unknown(name)
    return name


recipe_argument: Any = click.argument("recipe", callback=_known)
"""Decorator that adds the argument; an unknown name is refused before the command imports anything."""
