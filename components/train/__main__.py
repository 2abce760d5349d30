"""Training by itself, in one or several processes: ``[torchrun --nproc-per-node N] -m mmkgc.components.train …``."""

import sys
from collections.abc import Callable
from pathlib import Path

import click
import yaml

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.opening import open_storage


def _feature_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option a modality: --textual, --visual, …"""
    for name, modality in MODALITIES.items():
        command = click.option(f"--{name}", help=f"URI of the {modality.noun}s' feature manifest")(command)
    return command


@click.command()
@click.argument("graph")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_feature_options
def main(graph: str, config: Path, **features: str | None) -> None:
    """Train on the published GRAPH with the `train` part of a recipe, a YAML file CONFIG; print the bundle's URI."""
    settings = TrainConfig.model_validate(yaml.safe_load(config.read_text(encoding="utf-8"))["train"])
    given = {modality: uri for modality, uri in features.items() if uri}
    try:
        click.echo(train(graph, given, settings, open_storage()).uri)
    except UserError as error:
        click.echo(error, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
