"""Training by itself, in one or several processes: ``[torchrun --nproc-per-node N] -m mmkgc.components.train …``."""

from collections.abc import Callable
from pathlib import Path

import click
import yaml

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime import yaml_text
from mmkgc.components.runtime.command import command, debug_option
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.opening import open_storage


def _feature_options(command: Callable[..., None]) -> Callable[..., None]:
    """One option a modality: --textual, --visual, …"""
    for name, modality in MODALITIES.items():
        command = click.option(f"--{name}", help=f"URI of the {modality.noun}s' feature manifest")(command)
    return command


@click.command(params=[debug_option()])
@click.argument("graph")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_feature_options
def main(graph: str, config: Path, **features: str | None) -> None:
    """Train on the published GRAPH with the `train` part of a recipe, a YAML file CONFIG; print the bundle's URI."""
    given = {modality: uri for modality, uri in features.items() if uri}
    with command("train"):
        click.echo(train(graph, given, _settings(config), open_storage()).uri)


def _settings(path: Path) -> TrainConfig:
    """The `train` part of a recipe. Raises UserError if the file has none."""
    try:
        part = yaml_text.load(path.read_text(encoding="utf-8"))["train"]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise UserError(path, "this file has no `train:` part", "give the YAML file of a recipe") from error
    return TrainConfig.model_validate(part)


if __name__ == "__main__":
    main()
