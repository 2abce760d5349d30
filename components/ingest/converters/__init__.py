"""Converters of what people have into dataset folders, one kind of source per file."""

from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.runtime.errors import UserError, did_you_mean, shown
from mmkgc.components.runtime.plugins import Registry

CONVERTERS = Registry("converter", Converter, f"{__name__}.kinds")


def converter_of(source: Path, wishes: Wishes) -> Converter:
    """The converter that recognises ``source``, a file or a folder, and knows the roles that the user gives columns.

    Raises UserError if there is none.
    """
    ordered = sorted(CONVERTERS.classes().values(), key=lambda found: found.rank)
    wished = {role.partition(":")[0] for role in wishes.columns.values()}
    known = {role for found in ordered for role in found.roles}
    for role in wished - known:
        raise UserError(f"--columns {role}", "there is no such role of a column", did_you_mean(role, known))
    for found in ordered:
        if wished <= found.roles and (converter := found()).recognises(source, wishes):
            return converter
    mend = "give " + "; ".join(found.needs for found in ordered)
    if not source.exists():
        near = [path.name for path in source.parent.iterdir()] if source.parent.is_dir() else []
        raise UserError(source, "there is no such file or folder", did_you_mean(source.name, near) if near else mend)
    if wished and any(found().recognises(source, Wishes()) for found in ordered):
        told = ", ".join(sorted(wished))
        raise UserError(f"--columns {told}", f"{source.name} has no columns that hold this", mend)
    if source.is_dir():
        there = ", ".join(shown(path.name) for path in sorted(source.iterdir())[:5]) or "nothing"
        raise UserError(source, f"nothing in this folder is understood; found {there}", mend)
    raise UserError(source, "this file is not understood", mend)
