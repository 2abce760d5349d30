"""What the columns of a table of entities hold, from their names and their content."""

import ast
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean

from mmkgc.components.ingest.converters.base import Guess
from mmkgc.components.ingest.converters.cells import LIST
from mmkgc.components.ingest.converters.draft import one_line
from mmkgc.components.ingest.converters.numbers import numbers
from mmkgc.components.ingest.converters.pictures import is_picture
from mmkgc.components.ingest.converters.words import plain, role_of
from mmkgc.components.runtime.nouns import counted

ROLES = ("key", "name", "description", "image", "type", "relation", "number", "ignore")
SEPARATORS = (LIST, "|", ";", ",")
MOST = 0.5  # share of a column's cells that show what it is
LONG, WORDS = 60, 8  # characters and words of a description, on average
NAME = 80  # characters of a name, on average, at most
REPEATED = 0.3  # share of a relation's values that occur more than once, at least
GAIN = 0.15  # by which splitting at a comma raises that share, at least: "Paris, France" is one place
UNIQUE = 0.9  # share of distinct values of a column of names, at least


@dataclass
class Column:
    """A column of a table, one cell a row; ``parts`` are the values of each cell."""

    header: str
    cells: list[str]
    separator: str | None = None
    role: str = ""
    why: str = ""
    makes: str = ""  # name of the relation or attribute
    parts: list[list[str]] = field(default_factory=list)

    @cached_property
    def filled(self) -> list[str]:
        """The cells that are not empty."""
        return [cell for cell in self.cells if cell.strip()]

    @cached_property
    def distinct(self) -> int:
        """Number of different filled cells."""
        return len(set(self.filled))

    @cached_property
    def numbers(self) -> tuple[list[str], str] | None:
        """The cells as numbers and their unit, if they are numbers or dates."""
        return numbers(self.cells)

    @cached_property
    def values(self) -> Counter[str]:
        """How often each value occurs in the parts."""
        return Counter(value for values in self.parts for value in values)

    def split(self) -> None:
        """Find the separator, unless it is given, and the ``parts``."""
        if self.separator is None:
            self.separator = _separator(self.filled)
        self.parts = [_parts(cell, self.separator) for cell in self.cells]


@dataclass(frozen=True)
class Labels:
    """What the rows of a table are called in one of its columns, in lower case."""

    table: str
    column: Column
    found: Collection[str]


def labels(table: str, columns: Sequence[Column]) -> list[Labels]:
    """The columns that name the rows of a table: those that are called so, else the first of short, distinct texts."""
    unique = [column for column in columns if column.filled and column.distinct >= UNIQUE * len(column.cells)]
    named = [column for column in unique if role_of(column.header) in ("key", "name")]
    short = (column for column in unique if not column.numbers and fmean(map(len, column.filled)) <= NAME)
    chosen = named or [column for column in (next(short, None),) if column]
    return [Labels(table, column, {one_line(cell).casefold() for cell in column.filled}) for column in chosen]


def guess(columns: Sequence[Column], wished: Mapping[str, str], rows: Sequence[Labels]) -> None:
    """Give every column its role and the reason. ``wished``: roles by header.

    ``rows``: labels of the rows of all tables; a column whose values are among those of another one is a relation.
    """
    for column in columns:
        column.split()
        if role := wished.get(column.header):
            column.role, _, column.makes = role.partition(":")
            column.why = "as you say"
        else:
            column.role, column.why = _by_itself(column, rows)
    _one_of_each(columns, set(wished))
    if not any(column.role in ("name", "key") for column in columns):
        _find_name(columns)


def guesses(columns: Sequence[Column]) -> list[Guess]:
    """The guesses as they are shown."""
    return [
        Guess(column.header, column.role + (f": {column.makes}" if column.makes else ""), column.why)
        for column in columns
    ]


def _by_itself(column: Column, rows: Sequence[Labels]) -> tuple[str, str]:
    """Role of a column, and why."""
    filled, named = column.filled, role_of(column.header)
    if not filled:
        return "ignore", "it is empty"
    pictures = sum(is_picture(part) for cell in filled for part in cell.split("|")[:1]) / len(filled)
    if pictures >= MOST or (named == "image" and any("/" in cell for cell in filled)):
        return "image", f"{pictures:.0%} of its values end as pictures do"
    if column.distinct == 1 and len(filled) > 1:
        return "ignore", f"it is '{one_line(filled[0])[:30]}' in every row"
    if named == "key" and column.distinct == len(column.cells):
        return "key", "its name, and no value repeats"
    if named == "name" and not column.numbers:
        return "name", "its name"
    if target := _target(column, rows):
        return "relation", target
    if named == "description" or _is_text(filled):
        return "description", f"texts of {fmean(map(len, filled)):.0f} characters on average"
    if column.numbers:
        values, unit = column.numbers
        count, of = sum(map(bool, values)), f" in {unit}" if unit else ""
        return "number", f"{counted(count, 'number or date', 'numbers or dates')}{of}"
    if named == "type" and column.distinct < len(filled):
        return "type", f"its name, and {counted(column.distinct, 'value repeats', 'values repeat')}"
    return _relation(column)


def _relation(column: Column) -> tuple[str, str]:
    total, separator = sum(column.values.values()), column.separator
    repeated = _repeated(column.values)
    parted = f", parted at '{separator}'" if separator and separator != LIST else ""
    if repeated >= REPEATED and max(map(len, column.values)) <= 200:
        values = counted(len(column.values), "value that repeats", "values that repeat")
        return "relation", f"{values}{parted}: {_example(column)}"
    return "ignore", f"{len(column.values)} of its {total} values differ: nothing repeats"


def _example(column: Column) -> str:
    return ", ".join(value[:30] for value, _ in column.values.most_common(2))


def _target(column: Column, rows: Sequence[Labels]) -> str:
    """Why the values name rows of a table; empty if they do not. Numbers do so only in a column that is called so."""
    values = set(column.values)
    if not values or (column.numbers and not plain(column.header).endswith(("_id", "_key", "_ref", "_code"))):
        return ""
    for other in rows:
        found = 0 if other.column is column else sum(value.casefold() in other.found for value in values)
        if found >= MOST * len(values):
            return f"{found} of its {len(values)} values are rows of '{other.table}'"
    return ""


def _is_text(filled: Sequence[str]) -> bool:
    return fmean(map(len, filled)) >= LONG and fmean(len(cell.split()) for cell in filled) >= WORDS


def _one_of_each(columns: Sequence[Column], wished: set[str]) -> None:
    """Leave one key, one name and one type; further ones become what their content says."""
    for role in ("key", "name", "type"):
        having = [column for column in columns if column.role == role]
        kept = next((column for column in having if column.header in wished), having[0] if having else None)
        for column in having:
            if column is not kept:
                column.role, column.why = ("number", "numbers") if column.numbers else _relation(column)


def _find_name(columns: Sequence[Column]) -> None:
    """Take the first column of short texts that hardly repeat for the names."""
    for column in columns:
        if (
            column.why == "as you say"
            or column.role not in ("ignore", "relation")
            or not column.filled
            or column.numbers
        ):
            continue
        if column.distinct >= UNIQUE * len(column.cells) and fmean(map(len, column.filled)) <= NAME:
            column.role, column.why = "name", "the first column of short texts that do not repeat"
            return


def _repeated(values: Counter[str]) -> float:
    """Share of the occurrences of values that occur more than once."""
    return sum(count for count in values.values() if count > 1) / max(sum(values.values()), 1)


def _separator(filled: Sequence[str]) -> str | None:
    """The separator of a column's cells, if they hold several values each."""
    if filled and all(cell.startswith("[") and cell.endswith("]") for cell in filled):
        return "[]"
    whole = _repeated(Counter(filled))
    for separator in SEPARATORS:
        having = sum(separator in cell for cell in filled)
        if separator == LIST and having:
            return LIST
        if having < 0.1 * len(filled):
            continue
        parts = Counter(part for cell in filled for part in _parts(cell, separator))
        if separator != "," and max(map(len, parts), default=0) <= NAME:
            return separator
        if max(map(len, parts), default=0) <= NAME and _repeated(parts) >= whole + GAIN:
            return separator
    return None


def _parts(cell: str, separator: str | None) -> list[str]:
    """Distinct values of a cell; ``[]`` reads lists as Python and JSON write them, of texts or of objects."""
    if separator == "[]":
        return list(dict.fromkeys(filter(None, map(_item, _literal(cell)))))
    parts = cell.split(separator) if separator else [cell]
    return list(dict.fromkeys(filter(None, map(one_line, parts))))


def _literal(cell: str) -> Sequence[object]:
    try:
        found = ast.literal_eval(cell) if cell.strip() else []
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return cell.strip("[]").split(",")
    return found if isinstance(found, list) else [found]


def _item(value: object) -> str:
    """A value of a list; of an object its name, or its first text."""
    if isinstance(value, dict):
        texts = [text for text in value.values() if isinstance(text, str)]
        value = value.get("name") or next(iter(texts), "")
    return one_line(str(value))
