"""What ``mmkgc run`` says first: what the dataset holds, all of its faults at once, and which recipe is run."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from pydantic import ValidationError

from mmkgc.components.dataset import profile
from mmkgc.components.ingest.check import survey
from mmkgc.components.ingest.config import IngestConfig
from mmkgc.components.runtime.errors import UserError, printable
from mmkgc.components.runtime.faults import UserErrors
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.settings import SCHEME, Settings
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import composition
from mmkgc.pipeline.request import Request

if TYPE_CHECKING:
    from mmkgc.pipeline.config import Recipe


class Opening(NamedTuple):
    """The notes and warnings that were printed, and the sizes of the dataset; none if it was not looked at."""

    told: set[str]
    counts: dict[str, int]


NOTHING = Opening(set(), {})


def data(values: dict[str, Any]) -> Opening:
    """Print what the dataset of a recipe's ``values`` holds.

    Values that cannot be right are left to the check of the recipe, and datasets of the store to ingest, which checked
    them before. Raises UserError for invalid data, after a line for each fault if there are several.
    """
    dataset = values.get("dataset")
    if not isinstance(dataset, str) or not dataset.strip() or SCHEME in dataset:
        return NOTHING
    try:
        config = IngestConfig.model_validate(values.get("ingest") or {})
    except ValidationError:
        return NOTHING
    try:
        name, counts, findings = survey(os.path.expanduser(dataset), config, open_storage())
    except UserErrors as faults:
        for fault in faults.errors:
            click.secho(f"  ✗ {fault}", fg="red", err=True)
        raise UserError(
            f"dataset {dataset}", f"it has the {len(faults.errors)} faults above", "mend them and run again"
        ) from faults
    click.echo(profile.summary(name, counts, findings.notes, findings.warnings), err=True)
    return Opening({*findings.notes, *findings.warnings}, counts)


def recipe(chosen: "Recipe", asked: Request, given: str, counts: Mapping[str, int]) -> None:
    """Print which recipe is run, why, how many epochs it trains at most, and what that needs of time and memory.

    ``counts``: sizes of the dataset, if known. Raises UserError if the training does not fit into memory or disk.
    """
    from mmkgc.pipeline import earlier

    named = given if given in composition.names() else "default" if asked.called and os.path.isdir(given) else None
    why = f": {composition.summary(named)}" if named else ""
    click.echo(f"recipe {printable(named or given)}{printable(why)}", err=True)
    train = chosen.train
    click.echo(f"  trains {printable(train.label)}, at most {counted(train.epochs, 'epoch')}", err=True)
    click.echo(f"  {earlier.sentence(earlier.run_like(chosen))}", err=True)
    if counts:
        _needs(chosen, counts)
    doubt = train.caution()
    for sentence in [*chosen.extract.random(), *([doubt] if doubt else [])]:
        click.secho(f"  WARNING: {printable(sentence)}", fg="yellow", err=True)
    click.echo(err=True)


def _needs(chosen: "Recipe", counts: Mapping[str, int]) -> None:
    """Print what the training needs. The widths of features are known after their extraction: they lie on disk, and
    the train step counts them.
    """
    from mmkgc.components.train.needs import needs, refuse_if_too_large

    found = needs(chosen.train, counts["entities"], counts["train"], {})
    click.echo(f"  {found}, beside the features", err=True)
    refuse_if_too_large(found, Settings.from_env().scratch)
