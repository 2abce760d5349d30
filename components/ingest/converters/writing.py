"""A draft as a dataset folder: checked, complete, and written at once or not at all."""

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.dataset.modalities.files import BadFile, FileModality
from mmkgc.components.dataset.raw import CARD
from mmkgc.components.dataset.readers.openke import readable
from mmkgc.components.ingest.converters.draft import Draft, one_line
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.components.runtime.progress import track

IMAGES, LINKS, README = "images", "image_links.txt", "README.md"


def write(draft: Draft, splits: Mapping[str, np.ndarray], folder: Path, card: str) -> None:
    """Write the dataset folder; ``splits`` are triples of ids by name, ``card`` is the text of README.md.

    Pictures are copied; those that extraction could not decode are left out, with a warning.
    """
    folder.mkdir(parents=True)
    images = _copy(draft, folder)
    keys = list(draft.entities)
    header = ["key", "name", "type", "description", "image"]
    rows = (
        [
            key,
            draft.names.get(entity) or readable(key),
            draft.types.get(entity, ""),
            draft.descriptions.get(entity, ""),
            "|".join(images.get(entity, ())),
        ]
        for entity, key in enumerate(keys)
    )
    _table(folder / "entities.tsv", header, rows)
    relations = list(draft.relations)
    named = ([key, draft.relation_names.get(relation) or readable(key)] for relation, key in enumerate(relations))
    _table(folder / "relations.tsv", ["key", "name"], named)
    for split, triples in splits.items():
        lines = ([keys[head], relations[relation], keys[tail]] for head, relation, tail in triples.tolist())
        _table(folder / f"{split}.tsv", PARTS, lines)
    if draft.literals:
        literals = ([keys[entity], attribute, value] for entity, attribute, value in draft.literals)
        _table(folder / "literals.tsv", ["key", "attribute", "value"], literals)
    if draft.picture_links:
        _table(folder / LINKS, ["key", "address"], ([keys[entity], link] for entity, link in draft.picture_links))
    about = {"name": draft.name, "source": draft.source, "licence": draft.licence, "prefixes": draft.prefixes}
    text = yaml.safe_dump({key: value for key, value in about.items() if value}, allow_unicode=True, sort_keys=False)
    (folder / CARD).write_text(text, encoding="utf-8")
    (folder / README).write_text(card, encoding="utf-8")


def _table(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write("\t".join(header) + "\n")
        file.writelines("\t".join(map(one_line, row)) + "\n" for row in rows)


def _copy(draft: Draft, folder: Path) -> dict[int, list[str]]:
    """Copy the pictures into the folder; their paths in it by entity."""
    visual = MODALITIES["visual"]
    assert isinstance(visual, FileModality)
    keys, bad = list(draft.entities), []
    copied: dict[int, list[str]] = {}
    taken: set[str] = set()
    for entity, paths in track(draft.pictures.items(), "pictures", len(draft.pictures), "entity"):
        for path in paths:
            try:
                visual.checked(path)
            except BadFile as reason:
                bad.append(f"{path.name} {reason}")
                continue
            name = _file_name(draft.names.get(entity) or keys[entity], path.suffix.lower(), taken)
            (folder / IMAGES).mkdir(exist_ok=True)
            shutil.copyfile(path, folder / IMAGES / name)
            copied.setdefault(entity, []).append(f"{IMAGES}/{name}")
    draft.findings.warn_of("pictures that cannot be used, left out", bad)
    return copied


def _file_name(label: str, suffix: str, taken: set[str]) -> str:
    """A file name made from an entity's name that is new, also where case does not count."""
    stem = re.sub(r"[^\w.-]+", "_", label).strip("._")[:60] or "image"
    name, number = f"{stem}{suffix}", 2
    while name.casefold() in taken:
        name, number = f"{stem}-{number}{suffix}", number + 1
    taken.add(name.casefold())
    return name
