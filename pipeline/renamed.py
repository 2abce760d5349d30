"""Renamed keys of recipes: an old key is still accepted, with a warning.

An old name is kept for two minor versions and then becomes an unknown key (see CONTRIBUTING.md).
"""

from collections.abc import Mapping
from typing import Any

import click

from mmkgc.components.runtime.errors import UserError

RENAMED = {"train.objective": "train.loss", "ingest.allow_outside_images": "ingest.allow_outside_files"}
"""Old and new keys, which may differ only in the last part; both are of 0.1 and accepted until 0.3."""
PARENT = "train."  # keys of a search space are keys of `train`


def current_key(key: str) -> str:
    """The current name of a dotted key: ``train.objective.margin`` → ``train.loss.margin``."""
    for old, new in RENAMED.items():
        if f"{key}.".startswith(f"{old}."):
            return new + key.removeprefix(old)
    return key


def current(values: Mapping[str, Any], where: object) -> dict[str, Any]:
    """A recipe's ``values`` with every old key renamed; prints a warning to stderr for each.

    ``where`` names the recipe's file. Raises UserError if a key is given under both names.
    """
    found: list[str] = []
    renamed = _renamed(values, "", found, where)
    for old in dict.fromkeys(found):
        tell(where, old)
    return renamed


def tell(where: object, old: str) -> None:
    """Warn on stderr that the key ``old`` was renamed."""
    sentence = f"{where}: '{old}' is called '{current_key(old)}' now; the old name will be refused in a later version"
    click.secho(f"mmkgc: {sentence}", fg="yellow", err=True)


def _renamed(values: Mapping[str, Any], path: str, found: list[str], where: object) -> dict[str, Any]:
    """Rename old keys of ``values`` at the dotted ``path`` (empty, or ending in a dot), and add them to ``found``."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        new = _last(key, path, found)
        if new != key and new in values:
            raise UserError(
                f"{where}, {path}{key}", f"this is called '{new}' now, and '{new}' is given too", "keep one"
            )
        result[new] = _below(value, new, path, found, where)
    return result


def _last(key: str, path: str, found: list[str]) -> str:
    """The current name of ``key`` at ``path``; keys of a search space and of its conditions are dotted paths."""
    prefix = PARENT if _names_keys(path) else path
    full = f"{prefix}{key}"
    new = current_key(full)
    if new != full:
        found.append(full)
    return new.removeprefix(prefix)


def _below(value: Any, key: str, path: str, found: list[str], where: object) -> Any:
    if not isinstance(value, Mapping):
        return value
    # the values of a system `for:` a dataset form a recipe of their own
    inner = "" if path == "for." else f"{path}{key}."
    return _renamed(value, inner, found, where)


def _names_keys(path: str) -> bool:
    return path == "search.space." or (path.startswith("search.space.") and path.endswith(".when."))
