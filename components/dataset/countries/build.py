"""Writes the dataset ``countries`` as a dataset folder; README.md is its card."""

from collections.abc import Iterable
from pathlib import Path

from mmkgc.components.dataset.countries import draw
from mmkgc.components.dataset.countries.facts import HERE, RELATIONS, TABLES, entity, numbers, rows, triples
from mmkgc.components.dataset.countries.split import split
from mmkgc.components.runtime.files import atomic_path

FLAGS = HERE / "flags.txt"
CARD = """\
name: countries
source: Written for this project from public knowledge (UN M49, ISO 4217, member lists), as of 1 July 2025
licence: CC0-1.0
"""


def build(folder: Path) -> Path:
    """Write the dataset into ``folder``, the same bytes each time, and return it."""
    with atomic_path(folder) as target:
        (target / "images").mkdir(parents=True)
        for key, flag in draw.read(FLAGS).items():
            draw.write(flag, target / _image(key))
        _write(target / "entities.tsv", ["key", "name", "type", "description", "image"], _entities())
        _write(target / "relations.tsv", ["key", "name"], ((relation.key, relation.name) for relation in RELATIONS))
        for name, part in zip(("train", "valid", "test"), split(triples()), strict=True):
            _write(target / f"{name}.tsv", ["head", "relation", "tail"], part)
        _write(target / "literals.tsv", ["key", "attribute", "value"], numbers())
        (target / "dataset.yaml").write_text(CARD, encoding="utf-8")
    return folder


def _entities() -> Iterable[list[str]]:
    for type_ in TABLES:
        for row in rows(type_):
            image = _image(row["key"]) if type_ == "country" else ""
            yield [entity(type_, row["key"]), row["name"], type_, row["description"], image]


def _image(country: str) -> str:
    return f"images/{country}.png"


def _write(path: Path, header: list[str], lines: Iterable[Iterable[str]]) -> None:
    path.write_text("".join("\t".join(cells) + "\n" for cells in (header, *lines)), encoding="utf-8")
