"""What ``mmkgc run`` says first: what the dataset holds, all of its faults at once, and which recipe is run."""

import os
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from mmkgc.components.dataset import profile
from mmkgc.components.ingest.check import survey
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.components.runtime.faults import UserErrors
from mmkgc.components.runtime.settings import SCHEME
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import composition
from mmkgc.pipeline.request import Request

if TYPE_CHECKING:
    from mmkgc.pipeline.config import Recipe


def data(values: dict[str, Any]) -> set[str]:
    """Print what the dataset of a recipe's ``values`` holds; returns the notes and warnings that were printed.

    Values that cannot be right are left to the check of the recipe, and datasets of the store to ingest, which checked
    them before. Raises UserError for invalid data, after a line for each fault if there are several.
    """
    dataset = values.get("dataset")
    if not isinstance(dataset, str) or not dataset.strip() or SCHEME in dataset:
        return set()
    try:
        config = IngestConfig.model_validate(values.get("ingest") or {})
    except ValidationError:
        return set()
    try:
        name, counts, findings = survey(os.path.expanduser(dataset), config, open_storage())
    except UserErrors as faults:
        for fault in faults.errors:
            click.secho(f"  ✗ {fault}", fg="red", err=True)
        raise UserError(
            f"dataset {dataset}", f"it has the {len(faults.errors)} faults above", "mend them and run again"
        ) from faults
    click.echo(profile.summary(name, counts, findings.notes, findings.warnings), err=True)
    return {*findings.notes, *findings.warnings}


def recipe(chosen: "Recipe", asked: Request, given: str) -> None:
    """Print which recipe is run, why, and how many epochs it trains at most."""
    named = given if given in composition.names() else "default" if asked.called and os.path.isdir(given) else None
    why = f": {composition.summary(named)}" if named else ""
    click.echo(f"recipe {printable(named or given)}{printable(why)}", err=True)
    train = chosen.train
    click.echo(f"  trains {printable(train.label)}, at most {train.epochs} epochs", err=True)
    for sentence in chosen.extract.random():
        click.secho(f"  WARNING: {printable(sentence)}", fg="yellow", err=True)
    click.echo(err=True)
