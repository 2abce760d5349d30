"""The step alone, in one process or in several: ``[torchrun --nproc-per-node N] -m mmkgc.components.train …``."""

import sys
from pathlib import Path

import click
import yaml

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.storage import open_storage


@click.command()
@click.argument("graph")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--visual", help="URI of the images' feature manifest")
@click.option("--textual", help="URI of the texts' feature manifest")
def main(graph: str, config: Path, visual: str | None, textual: str | None) -> None:
    """Train on the published GRAPH with the `train` part of a recipe, a YAML file CONFIG; print the bundle's URI."""
    settings = TrainConfig.model_validate(yaml.safe_load(config.read_text(encoding="utf-8"))["train"])
    features = {modality: uri for modality, uri in (("visual", visual), ("textual", textual)) if uri}
    try:
        click.echo(train(graph, features, settings, open_storage()).uri)
    except UserError as error:
        click.echo(error, err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
