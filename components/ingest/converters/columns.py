"""Tables of triples: which column is the head, the relation and the tail, and whether the first row is a header."""

from array import array
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from mmkgc.components.ingest.converters.cells import Row, Sheet, sheets
from mmkgc.components.ingest.converters.draft import Draft, Keys, check_key, one_line
from mmkgc.components.kge.vocabulary import LONGEST_KEY, PARTS
from mmkgc.components.runtime.errors import UserError, did_you_mean, shown
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.progress import Meter

ROLES = PARTS
WORDS = {
    "head": {"head", "h", "subject", "subj", "s", "source", "src", "from", "start", "entity1", "head_entity"},
    "relation": {"relation", "rel", "r", "predicate", "pred", "p", "property", "edge", "link", "relationship"},
    "tail": {"tail", "t", "object", "obj", "o", "target", "dst", "to", "end", "entity2", "tail_entity"},
}
"""Names of the columns of triples in usual headers, in lower case."""
ORDERS = {1: (0, 1, 2), 2: (0, 2, 1), 0: (1, 0, 2)}
"""Columns of head, relation and tail by the column of the relation."""
SAMPLE = 2000  # rows that show whether a table holds triples
FEW = 0.34  # share of distinct values in a relation's column of a sample, at most
REPEATED = 5  # occurrences of a relation on average, from which a first row that nothing repeats is a header


def holds_triples(path: Path) -> bool:
    """Whether a table looks like triples: a header that says so, or three columns of which one is a vocabulary of few.

    A table whose first column never repeats lists entities; so does one whose header has other names.
    """
    sheet = sheets(path)[0]
    first, *rows = [row.cells for row in islice(sheet.rows, SAMPLE)] or [[]]
    if len(first) != len(ROLES):
        return False
    if _named(first):
        return True
    if not rows or any(len(row) != len(ROLES) for row in rows):
        return False
    distinct = [len({row[column] for row in rows}) for column in range(len(ROLES))]
    is_header = not any(cell in row for cell in first for row in rows)
    few = min(distinct) <= FEW * len(rows)
    if is_header and distinct[0] == len(rows):
        return False
    shared = {row[0] for row in rows} & {cell for row in rows for cell in row[1:]}
    return few and (bool(shared) or not is_header)


class TripleColumns:
    """Three columns of one or several tables, each coded by a vocabulary of its own, so that a table is read once."""

    def __init__(self, wished: Mapping[str, str]) -> None:
        self.wished = wished
        self.keys = [Keys(), Keys(), Keys()]
        self.order: tuple[int, ...] | None = None
        self.splits: dict[str, array[int]] = {}
        self.notes: list[str] = []

    def read(self, split: str, path: Path) -> None:
        """Append the rows of a table. Raises UserError, with the line, for a row without three filled cells."""
        for sheet in sheets(path):
            self._read(split, sheet)

    def _read(self, split: str, sheet: Sheet) -> None:
        codes = self.splits.setdefault(split, array("i"))
        meter = Meter(f"read {sheet.path.name}", None, "row")
        start = list(islice(sheet.rows, SAMPLE))
        if start and (header := self._header(sheet, start)):
            self._name_columns(sheet, start.pop(0), header)
        ids = [keys.ids for keys in self.keys]
        a, b, c = ids
        for rows in (start, sheet.rows):
            for row in rows:
                try:
                    first, second, third = row.cells
                except ValueError:
                    raise self._wrong_width(sheet, row) from None
                if (
                    not (first.strip() and second.strip() and third.strip())
                    or len(first) + len(second) + len(third) > LONGEST_KEY
                ):
                    for cell in row.cells:
                        check_key(cell, sheet.at(row), "a cell of the triple")
                codes.append(a.setdefault(first, len(a)))
                codes.append(b.setdefault(second, len(b)))
                codes.append(c.setdefault(third, len(c)))
                meter.advance()
        meter.finish()

    def _wrong_width(self, sheet: Sheet, row: Row) -> UserError:
        what = f"the row has {counted(len(row.cells), 'cell')} where 3 belong: '{shown(' | '.join(row.cells))}'"
        return UserError(sheet.at(row), what, "write head, relation and tail, separated as in the other lines")

    def _header(self, sheet: Sheet, start: Sequence[Row]) -> list[str]:
        """The names of the columns, if the first row is a header; else none."""
        first = [one_line(cell).lower() for cell in start[0].cells]
        if _named(first) or set(self.wished) & {*first, *start[0].cells}:
            return start[0].cells
        rows = [row.cells for row in start[1:] if len(row.cells) == len(first)]
        fewest = min((len({row[column] for row in rows}) for column in range(len(first))), default=0)
        if (
            fewest
            and len(rows) / fewest >= REPEATED
            and not any(cell in row for cell in start[0].cells for row in rows)
        ):
            self.notes.append(f"{sheet.at(start[0])}: '{shown(' '.join(first))}' is taken for a header.")
            return start[0].cells
        return []

    def _name_columns(self, sheet: Sheet, row: Row, header: Sequence[str]) -> None:
        named = {self.wished.get(cell, ""): column for column, cell in enumerate(header)}
        if not set(ROLES) <= set(named):
            named = _named(header)
        if set(ROLES) <= set(named):
            self.order = tuple(named[role] for role in ROLES)
        elif wrong := set(self.wished) - set(header) - set("123"):
            raise UserError(
                sheet.at(row), f"there is no column '{shown(min(wrong))}'", did_you_mean(min(wrong), header)
            )

    def put(self, draft: Draft) -> None:
        """Add the triples to a draft."""
        order = self._numbered() or self.order or self._guessed()
        entities = [self._ids(draft.entities, self.keys[column]) for column in (order[0], order[2])]
        relations = self._ids(draft.relations, self.keys[order[1]])
        for split, codes in self.splits.items():
            columns = np.array(codes, np.int64).reshape(-1, 3).T
            found = (entities[0][columns[order[0]]], relations[columns[order[1]]], entities[1][columns[order[2]]])
            draft.extend(split, np.stack(found, axis=1))
        draft.findings.notes += self.notes

    def _ids(self, into: Keys, keys: Keys) -> np.ndarray:
        return np.array([into.id(one_line(key)) for key in keys], np.int64)

    def _numbered(self) -> tuple[int, ...] | None:
        """The order that the user gives by the columns' numbers."""
        by_role = {role: column for column, role in self.wished.items()}
        numbers = [by_role.get(role, "") for role in ROLES]
        return tuple(int(number) - 1 for number in numbers) if sorted(numbers) == ["1", "2", "3"] else None

    def _guessed(self) -> tuple[int, ...]:
        """The order that the vocabularies show: heads and tails share theirs, and relations are few."""
        sets = [set(map(one_line, keys)) for keys in self.keys]
        sizes = [len(found) for found in sets]

        def shared(one: int, other: int) -> float:
            return len(sets[one] & sets[other]) / max(min(sizes[one], sizes[other]), 1)

        def evidence(column: int) -> tuple[float, float]:
            others = [other for other in range(3) if other != column]
            return shared(*others) - max(shared(column, other) for other in others), -sizes[column]

        best = max(range(3), key=evidence)
        if evidence(best)[0] <= 0:  # heads and tails differ, as of users and films: only sizes tell
            best = min(range(3), key=lambda column: sizes[column] * (1 if column == 1 else 2))
        counts = f"{sizes[0]:,}, {sizes[1]:,} and {sizes[2]:,} distinct values"
        words = {column: role for role, column in zip(ROLES, ORDERS[best], strict=True)}
        order = ", ".join(words[column] for column in range(3))
        self.notes.append(f"The columns are read as {order}: they have {counts}.")
        return ORDERS[best]


def _named(header: Sequence[str]) -> dict[str, int]:
    """Column by role, if the header names all three by usual words; else empty."""
    first = [one_line(cell).lower().lstrip(":").removesuffix("_id").removesuffix("id") or "id" for cell in header]
    found = {role: next((at for at, word in enumerate(first) if word in words), -1) for role, words in WORDS.items()}
    return found if len(first) == len(ROLES) and sorted(found.values()) == [0, 1, 2] else {}
