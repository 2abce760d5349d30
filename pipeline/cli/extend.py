"""``mmkgc extend``: new entities for a trained model, until the next training."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from mmkgc.components.runtime.nouns import counted

if TYPE_CHECKING:
    from mmkgc.pipeline.cli.champion import Chosen
    from mmkgc.serving.engine.extend import NewEntities


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path), help="Folder for the model with more entities.")
@click.option("--name", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option(
    "--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Extend this bundle folder."
)
def extend(folder: Path, to: Path, name: str | None, alias: str, bundle: Path | None) -> None:
    """Add the entities of FOLDER to a trained model, as candidates that are ranked by their features alone.

    FOLDER has entities.tsv (`key name description image type`) of the new entities, and literals.tsv if they have
    numbers. Nothing is trained, and an index is not rebuilt. The result is for --bundle:

    \b
      mmkgc extend new --to extended
      mmkgc serve --bundle extended
    """
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.pipeline.cli.champion import choose
    from mmkgc.serving.engine import extend as engine

    if to.exists():
        raise UserError(to, "this exists already, and nothing is overwritten", "name another place")
    new = read(folder)
    with TemporaryDirectory() as scratch:
        source = packaged(choose(name, alias, bundle), Path(scratch))
        made = engine.extend(source, new, to)
    click.echo(f"written: {to}  ({counted(len(made.entities) - len(new), 'entity')} and {len(new):,} new)")


def read(folder: Path) -> "NewEntities":
    """The entities of a folder. Raises UserError, with file and line, for anything malformed."""
    from mmkgc.components.dataset.modalities import MODALITIES
    from mmkgc.components.dataset.readers import folder as tsv
    from mmkgc.components.kge.vocabulary import Vocabulary
    from mmkgc.serving.engine.extend import NewEntities

    columns = tsv.table(folder / tsv.ENTITIES, tsv.OPTIONAL)
    contents = {name: modality.read(folder, columns) for name, modality in MODALITIES.items()}
    vocabulary = Vocabulary(tuple(columns["key"]), tuple(columns["name"]))
    return NewEntities(vocabulary, contents, folder, tuple(columns["type"]) if "type" in columns else None)


def packaged(chosen: "Chosen", scratch: Path) -> Path:
    """The folder of the chosen model with the table and the index that the package step made, if the store has them."""
    import zipfile

    from mmkgc.components.runtime import digests
    from mmkgc.components.runtime.files import read_json
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.serving.torchserve.archive import BUNDLE

    digest = digests.of_folder(chosen.bundle)
    for about in Path(open_storage().root).glob("archives/*/archive.json"):
        described = read_json(about)
        if described["bundle"] == digest:
            with zipfile.ZipFile(about.with_name(described["archive"])) as archive:
                archive.extractall(scratch, [name for name in archive.namelist() if name.startswith(f"{BUNDLE}/")])
            return scratch / BUNDLE
    return chosen.bundle
