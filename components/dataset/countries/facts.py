"""The facts: one table per entity type, one row per entity, and the triples in these rows."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TABLES = {
    "country": "countries.tsv",
    "city": "cities.tsv",
    "language": "languages.tsv",
    "currency": "currencies.tsv",
    "region": "regions.tsv",
    "continent": "continents.tsv",
    "organisation": "organisations.tsv",
}  # the type of an entity, and the file that lists the entities of this type

NUMBERS = "numbers.tsv"  # of every country; a column is an attribute

Row = dict[str, str]


@dataclass(frozen=True)
class Relation:
    """A relation between two types, given by the column with its key in the table of its heads."""

    key: str
    name: str
    head: str
    tail: str


RELATIONS = (
    Relation("borders", "borders", "country", "country"),
    Relation("official_language", "official language", "country", "language"),
    Relation("member_of", "member of", "country", "organisation"),
    Relation("subregion", "subregion", "country", "region"),
    Relation("currency", "currency", "country", "currency"),
    Relation("capital", "capital", "country", "city"),
    Relation("located_in", "located in", "region", "continent"),
)


class Triple(NamedTuple):
    """Keys of a head, a relation and a tail."""

    head: str
    relation: str
    tail: str

    @property
    def swapped(self) -> "Triple":
        """The inverse triple; if both are given, they are one fact."""
        return Triple(self.tail, self.relation, self.head)


def entity(type_: str, row_key: str) -> str:
    """An entity's key in the graph, such as ``country/norway``."""
    return f"{type_}/{row_key}"


def rows(type_: str) -> list[Row]:
    """The table of a type."""
    return _table(TABLES[type_])


def numbers() -> Iterator[tuple[str, str, str]]:
    """Entity, attribute and value of all numbers."""
    for row in _table(NUMBERS):
        key = entity("country", row.pop("key"))
        yield from ((key, attribute, value) for attribute, value in row.items())


def _table(name: str) -> list[Row]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True))


def triples() -> list[Triple]:
    """Every triple, relation by relation, in the order of the tables."""
    return [
        Triple(entity(relation.head, head), relation.key, entity(relation.tail, tail))
        for relation in RELATIONS
        for head, tail in _pairs(relation)
    ]


def _pairs(relation: Relation) -> Iterator[tuple[str, str]]:
    if relation.key == "member_of":  # organisations list their members: easier to check than the other way round
        return ((head, row["key"]) for row in rows(relation.tail) for head in _values(row["members"]))
    return ((row["key"], tail) for row in rows(relation.head) for tail in _values(row[relation.key]))


def _values(cell: str) -> list[str]:
    return cell.split("|") if cell else []
