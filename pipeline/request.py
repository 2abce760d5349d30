"""A recipe as a user asks for it: its values before they are checked.

Nothing here imports PyTorch, as the check of a recipe does, so that a misspelt name or a wrong folder is told at once.
"""

import os
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.names import NAME, name_of
from mmkgc.components.runtime.quoting import masked, printable, shell
from mmkgc.components.runtime.settings import SCHEME
from mmkgc.pipeline import composition
from mmkgc.pipeline.composition import names
from mmkgc.pipeline.renamed import current_key, tell

DEFAULT = "default"
SUFFIXES = (".yaml", ".yml")
LONGEST = 200
"""Maximum characters of a setting in an error message."""
SUPPORTED = "download it first and give its folder; what the store holds is read from s3:// and file://"


class Request(NamedTuple):
    """Values of a recipe with and without the user's ``settings``, and its source files.

    ``called`` is the name of the folder or file that the run is named after, otherwise empty.
    """

    values: dict[str, Any]
    unset: dict[str, Any]
    settings: Sequence[str]
    sources: tuple[Path, ...]
    called: str


def command(recipe_or_dataset: str, settings: Sequence[str]) -> str:
    """The command of a run, for a shell in any folder; passwords are masked."""
    path = _folder(recipe_or_dataset) or _file(recipe_or_dataset)
    changes = (word for setting in settings for word in ("--set", setting))
    return masked(shell("mmkgc", "run", str(path.resolve()) if path else recipe_or_dataset, *changes))


def find(recipe_or_dataset: str, settings: Sequence[str] = ()) -> Request:
    """The recipe of a bundled name, a YAML file, or a dataset folder (the default recipe on that folder).

    ``settings`` are ``key.path=value`` changes as in ``--set``. Raises UserError for an unknown name, a file that
    cannot be read and a setting without a value.
    """
    refuse_unknown(recipe_or_dataset)
    unset, sources, called = _found(recipe_or_dataset)
    if "dataset" not in unset:
        unset.pop("for", None)  # a system whose dataset is only given by --set
    return _changed(unset, settings, sources, called)


def pair(dataset: str, system: str, settings: Sequence[str] = ()) -> Request:
    """A system of the papers on a dataset of theirs, or on a folder; ``settings`` as in ``find``."""
    found = composition.pair(dataset, system)
    return _changed({"name": found.name} | found.values, settings, found.files, "")


def _changed(unset: dict[str, Any], settings: Sequence[str], sources: tuple[Path, ...], called: str) -> Request:
    values = deepcopy(unset)
    for setting in settings:
        _apply(values, setting)
    return Request(values, unset, settings, sources, called)


def refuse_unknown(recipe_or_dataset: str) -> None:
    """Raise UserError unless there is a bundled recipe, a YAML file or a folder of this name."""
    if not recipe_or_dataset.strip():
        raise UserError("RECIPE", "the name is empty", "name a recipe or a dataset folder; `.` is the working folder")
    if _folder(recipe_or_dataset) or _file(recipe_or_dataset) or recipe_or_dataset in names():
        return
    path = Path(os.path.expanduser(recipe_or_dataset))
    if os.path.isfile(path):
        raise UserError(path, "the name of a recipe file ends in .yaml or .yml", "rename it, or name another")
    if SCHEME in recipe_or_dataset:
        mend = f"{SUPPORTED}, as a recipe's `dataset`"
        raise UserError(printable(recipe_or_dataset), "no recipe is read from a URL", mend)
    what = "no recipe, recipe file or dataset folder of this name"
    raise UserError(printable(recipe_or_dataset), what, did_you_mean(recipe_or_dataset, names()))


def _found(recipe_or_dataset: str) -> tuple[dict[str, Any], tuple[Path, ...], str]:
    """Values of the recipe, its source files, and the name of the folder or file if the run is named after it."""
    if folder := _folder(recipe_or_dataset):
        found, called = composition.from_file(composition.RECIPES / f"{DEFAULT}.yaml"), folder.resolve().name.lower()
        return found.values | {"name": name_of(called), "dataset": str(folder.resolve())}, found.files, called
    if file := _file(recipe_or_dataset):
        found = composition.from_file(file)
        called = file.stem if found.name == file.stem else ""
        name = name_of(called) if called and not NAME.fullmatch(called) else found.name
        return {"name": name} | found.values, found.files, called
    bundled = composition.bundled(recipe_or_dataset)
    assert bundled is not None
    return {"name": bundled.name} | bundled.values, bundled.files, ""


def _folder(name: str) -> Path | None:
    path = os.path.expanduser(name)
    return Path(path) if os.path.isdir(path) else None  # unlike Path.is_dir, False for a name that no file can have


def _file(name: str) -> Path | None:
    path = os.path.expanduser(name)
    return Path(path) if path.lower().endswith(SUFFIXES) and os.path.isfile(path) else None


def _apply(raw: dict[str, Any], setting: str) -> None:
    """Set one value in place, such as ``train.epochs=5``; the value is YAML."""
    key, separator, value = setting.partition("=")
    if not separator:
        raise UserError(told(setting), "no value given", "write key.path=value, e.g. train.epochs=5")
    if (present := current_key(key)) != key:
        tell(told(setting), key)
    *parents, last = present.split(".")
    for parent in parents:
        child = raw.setdefault(parent, {})
        if not isinstance(child, dict):
            raw[parent] = child = {"name": child} if isinstance(child, str) else {}
        raw = child
    raw[last] = composition.parse(value, told(setting))


def told(setting: str) -> str:
    """A setting as a message shows it."""
    text = printable(masked(setting))
    return f"--set {text if len(text) <= LONGEST else text[:LONGEST] + '…'}"
