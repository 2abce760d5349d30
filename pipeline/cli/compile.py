"""``mmkgc compile``: writes the pipeline as Kubeflow IR YAML."""

from contextlib import suppress
from pathlib import Path

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.recipe import recipe_argument


@click.command()
@recipe_argument
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a recipe value, e.g. train.epochs=5."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write (default: <recipe>.pipeline.yaml).",
)
def compile(recipe: str, settings: tuple[str, ...], output: Path | None) -> None:
    """Write the Kubeflow IR YAML of RECIPE, to be uploaded to a cluster.

    The file changes with the recipe only: the digest of the code is an argument of the run, `code`.
    """
    from kfp import compiler

    from mmkgc.components.runtime.files import atomic_path
    from mmkgc.pipeline import config, dag, inputs
    from mmkgc.pipeline.runners import cluster

    loaded = config.load(recipe, settings)
    pipeline = dag.build(loaded, cluster.prepare(loaded), cluster.pipeline_config(loaded))
    path = output or Path(f"{loaded.name}.pipeline.yaml")
    with atomic_path(path) as temporary:
        compiled = temporary.with_name("pipeline.yaml")  # kfp looks at the suffix
        compiler.Compiler().compile(pipeline, str(compiled))
        compiled.rename(temporary)
    with suppress(UserError):  # data that are missing here may be in the image
        for key, place in inputs.local_inputs(loaded):
            warning = f"warning: {key} is {place}, which pods cannot read; `mmkgc submit` puts it into the store"
            click.secho(warning, fg="yellow", err=True)
    click.echo(f"wrote {path}: {' → '.join(dag.steps(loaded))}")
