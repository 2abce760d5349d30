"""A graph as a converter finds it, before it is a dataset folder: vocabularies that grow while a source is read."""

import re
from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mmkgc.components.dataset.findings import Findings
from mmkgc.components.kge.vocabulary import LONGEST_KEY
from mmkgc.components.runtime.errors import UserError, shown

BLANKS = re.compile(r"\s+")
UNSPLIT = "triples"
"""Name of the only part of a source that has no splits."""


def one_line(text: str) -> str:
    """``text`` with every run of blanks, tabs and line ends as one space, and none at the ends."""
    return BLANKS.sub(" ", text).strip()


def check_key(key: str, where: object, kind: str) -> None:
    """Raise UserError for an empty or overlong key of ``kind``, such as "an entity", which was found at ``where``."""
    if not key.strip():
        raise UserError(where, f"{kind} is empty", "fill the cell, or delete the line")
    if len(key) > LONGEST_KEY:
        what = f"'{shown(key)}' has {len(key)} characters, and a key has {LONGEST_KEY} at most"
        raise UserError(where, what, "give it a shorter key, or leave the column out")


class Keys:
    """Keys of entities or relations; the id is the position in which a key was first met."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def __contains__(self, key: object) -> bool:
        return key in self.ids

    def id(self, key: str) -> int:
        """Id of ``key``, which is added if it is new; it is one line without blanks at the ends."""
        return self.ids.setdefault(key, len(self.ids))


class Draft:
    """Entities with names, texts, types, pictures and numbers, and triples by split, in the order in which they come.

    Memory grows with the vocabulary, and by 12 bytes a triple. Everything about an entity is kept by its id.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source, self.licence = name, source, ""
        self.entities, self.relations = Keys(), Keys()
        self.names: dict[int, str] = {}
        self.descriptions: dict[int, str] = {}
        self.types: dict[int, str] = {}
        self.pictures: dict[int, list[Path]] = {}
        self.picture_links: list[tuple[int, str]] = []  # addresses, which are not fetched
        self.relation_names: dict[int, str] = {}
        self.literals: list[tuple[int, str, str]] = []
        self.prefixes: dict[str, str] = {}
        self.findings = Findings()
        self._splits: dict[str, array[int]] = {}

    def entity(self, key: str, where: object = "") -> int:
        """Id of an entity. Raises UserError for an empty or overlong key, which was found at ``where``."""
        known = self.entities.ids.get(key)
        return self.entities.id(self._checked(key, where, "an entity")) if known is None else known

    def relation(self, key: str, where: object = "") -> int:
        """Id of a relation. Raises UserError for an empty or overlong key, which was found at ``where``."""
        known = self.relations.ids.get(key)
        return self.relations.id(self._checked(key, where, "a relation")) if known is None else known

    def _checked(self, key: str, where: object, kind: str) -> str:
        key = one_line(key)
        check_key(key, where or self.source, kind)
        return key

    def add(self, split: str, head: int, relation: int, tail: int) -> None:
        """Add a triple of ids."""
        self._splits.setdefault(split, array("i")).extend((head, relation, tail))

    def extend(self, split: str, triples: np.ndarray) -> None:
        """Add triples of ids, int64 ``[T, 3]``."""
        self._splits.setdefault(split, array("i")).frombytes(triples.astype(np.int32).tobytes())

    def triples(self, split: str) -> np.ndarray:
        """The triples of a split in their order, int64 ``[T, 3]``; none if there is no such split."""
        return np.array(self._splits.get(split, ()), dtype=np.int64).reshape(-1, 3)

    @property
    def parts(self) -> list[str]:
        """Names of the splits, or ``UNSPLIT`` alone."""
        return list(self._splits)

    def describe(self, entity: int, text: str) -> None:
        """Append a text to the description of an entity; the same text is added once."""
        text, before = one_line(text), self.descriptions.get(entity, "")
        if text and text not in before:
            self.descriptions[entity] = f"{before} {text}".strip()
