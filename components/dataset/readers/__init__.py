"""Readers of dataset formats, one per file; the format is detected from the files in a folder."""

from pathlib import Path

from mmkgc.components.dataset.raw import CARD, Columns, RawGraph
from mmkgc.components.dataset.readers import folder as tsv
from mmkgc.components.dataset.readers import openke
from mmkgc.components.runtime.errors import UserError, shown


def read(folder: Path, columns: Columns | None = None) -> RawGraph:
    """The dataset in ``folder``, TSV or OpenKE. Raises UserError for missing or malformed files."""
    return tsv.read(folder) if _is_tsv(folder) else openke.read(folder, columns)


def inputs(folder: Path) -> tuple[list[str], list[str]]:
    """Inputs of ``read`` and of the image check: files of the dataset, present or not, and paths of images.

    Raises UserError if the folder has no dataset or a malformed ``entities.tsv``.
    """
    if not _is_tsv(folder):
        return [CARD, *openke.files_of(folder)], []
    return [CARD, *tsv.files_of(folder)], tsv.contents_of(folder)


def _is_tsv(folder: Path) -> bool:
    """Whether the folder's format is TSV, else OpenKE. Raises UserError if it is neither."""
    present = {path.name for path in folder.iterdir()}
    if present & set(tsv.FILES):
        return True
    if present & set(openke.FILES):
        return False
    found = ", ".join(map(shown, sorted(present)[:5])) or "nothing"
    raise UserError(folder, f"no dataset in this folder; found {found}", f"it needs {tsv.NEEDS}, or {openke.NEEDS}")
