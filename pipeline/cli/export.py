"""``mmkgc export``: a registered model as files."""

from pathlib import Path

import click

ARCHIVE = ".mar"


@click.command()
@click.argument("model", required=False)
@click.option("--name", help="The same as MODEL; other commands take it so.")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option("--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Export this bundle.")
@click.option("--to", required=True, metavar="DIR|FILE.mar", type=click.Path(path_type=Path), help="Where to write.")
@click.option("--pyfunc", is_flag=True, help="An MLflow model (`mlflow models serve -m DIR`) instead of the bundle.")
def export(model: str | None, name: str | None, alias: str, bundle: Path | None, to: Path, pyfunc: bool) -> None:
    """Write MODEL (default: the one promoted last) to files that need no registry.

    \b
      mmkgc export --to model                    the bundle: safetensors and JSON, for --bundle and mmkgc.load
      mmkgc export countries --to countries.mar  the archive for a TorchServe of your own
      mmkgc export --pyfunc --to model           an MLflow model

    Nothing that exists is overwritten.
    """
    import shutil

    from mmkgc.components.runtime.errors import UserError
    from mmkgc.components.runtime.files import atomic_path
    from mmkgc.pipeline.cli.champion import choose

    if model and name and model != name:
        raise click.UsageError(f"MODEL is {model}, but --name is {name}: give one of them")
    if to.exists():
        raise UserError(to, "this exists already, and nothing is overwritten", "name another place")
    if pyfunc and (bundle or to.suffix == ARCHIVE):
        what = "an MLflow model is a folder, made from a registered version"
        raise UserError("--pyfunc", what, "leave out --bundle, and give a folder after --to")
    chosen = choose(name or model, alias, bundle)
    with atomic_path(to) as temporary:
        if to.suffix == ARCHIVE:
            from mmkgc.pipeline.cli.serve import pack

            pack(chosen, temporary)
        elif pyfunc:
            _fetch(chosen.name, chosen.version, temporary)
        else:
            shutil.copytree(chosen.bundle, temporary)
    click.echo(f"written: {to}")


def _fetch(name: str, version: str, target: Path) -> None:
    """Download the whole MLflow model of a version."""
    from tempfile import TemporaryDirectory

    import mlflow

    from mmkgc.components.runtime import tracking

    location = tracking.client().get_model_version_download_uri(name, version)
    with TemporaryDirectory(dir=target.parent) as folder:
        Path(mlflow.artifacts.download_artifacts(location, dst_path=folder)).rename(target)
