"""Readers of dataset formats, one a file; the format is told by the files that a folder holds."""

from pathlib import Path

from mmkgc.components.dataset.raw import RawGraph
from mmkgc.components.dataset.readers import folder as tsv
from mmkgc.components.dataset.readers import openke
from mmkgc.components.ingest.config import Columns
from mmkgc.components.runtime.errors import UserError


def read(folder: Path, columns: Columns | None = None) -> RawGraph:
    """The dataset in ``folder``, TSV or OpenKE. Raises UserError for what is missing or malformed."""
    present = {path.name for path in folder.iterdir()}
    if present & set(tsv.FILES):
        return tsv.read(folder)
    if present & set(openke.FILES):
        return openke.read(folder, columns)
    found = ", ".join(sorted(present)[:5]) or "nothing"
    raise UserError(folder, f"no dataset in this folder; found {found}", f"it needs {tsv.NEEDS}, or {openke.NEEDS}")
