"""Picture files that are named by entities, and where pictures named in a table lie."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from mmkgc.components.ingest.converters.draft import Draft

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".avif", ".tif", ".tiff", ".bmp")


def is_picture(name: str) -> bool:
    """Whether a file's name, or the path of an address, ends as pictures do."""
    return name.partition("?")[0].lower().endswith(SUFFIXES)


def picture_files(folder: Path) -> list[Path]:
    """Every picture below a folder, in alphabetical order."""
    found = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names if is_picture(name))
    return sorted(path for path in found if not path.name.startswith("."))


def add_pictures(draft: Draft, folder: Path, files: Sequence[Path]) -> None:
    """Give entities the picture files that are named by their key or name, or lie in a folder that is.

    Case, blanks and punctuation do not count, nor a number at the end: ``night_train-2.jpg`` is a second picture of
    "Night Train". Names that several entities share are left out. Files without an entity are counted in a note.
    """
    ids = _by_name(draft)
    lost = []
    for path in files:
        inside = path.relative_to(folder)
        labels = [path.stem, re.sub(r"[-_ .(]+\d+\)?$", "", path.stem), *(part for part in reversed(inside.parts[:-1]))]
        entity = next((ids[label] for label in map(_plain, labels) if ids.get(label, -1) >= 0), None)
        if entity is None:
            lost.append(str(inside))
        elif path not in draft.pictures.setdefault(entity, []):
            draft.pictures[entity].append(path)
    draft.findings.warn_of("pictures whose name is no entity's", lost)


def add_linked(draft: Draft, files: Iterable[Path]) -> set[Path]:
    """Give entities the files that are named as the ends of their picture links, and drop these links."""
    by_name = {path.name.lower(): path for path in files}
    left, used = [], set()
    for entity, link in draft.picture_links:
        name = unquote(link.partition("?")[0].rsplit("/", 1)[-1]).lower()
        if path := by_name.get(name) or by_name.get(name.replace(" ", "_")):
            draft.pictures.setdefault(entity, []).append(path)
            used.add(path)
        else:
            left.append((entity, link))
    draft.picture_links = left
    return used


def _by_name(draft: Draft) -> dict[str, int]:
    """Entity by plain label; -1 where several entities have it."""
    ids: dict[str, int] = {}
    for key, entity in draft.entities.ids.items():
        labels = {key, key.rsplit("/", 1)[-1], draft.names.get(entity, "")}
        for label in {_plain(label) for label in labels} - {""}:
            ids[label] = entity if ids.get(label, entity) == entity else -1
    for key, entity in draft.entities.ids.items():  # a whole key is unique, also if it is another entity's name
        ids[_plain(key)] = entity
    return ids


def _plain(label: str) -> str:
    return re.sub(r"[\W_]+", " ", unquote(label)).strip().casefold()
