"""Tables of entities, one a row: CSV, TSV, Parquet, workbooks; alone, or several in a folder that name each other."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.cells import TABLES, Row, Sheet, files_of, sheets
from mmkgc.components.ingest.converters.draft import UNSPLIT, Draft, one_line
from mmkgc.components.ingest.converters.guessing import ROLES, Column, guess, guesses, labels
from mmkgc.components.ingest.converters.numbers import is_number
from mmkgc.components.ingest.converters.pictures import is_picture, picture_files
from mmkgc.components.ingest.converters.words import plain, singular
from mmkgc.components.runtime.errors import UserError, did_you_mean, shown
from mmkgc.components.runtime.names import name_of
from mmkgc.components.runtime.nouns import counted

LONG_FORM = 0.7  # share of distinct names below which rows of the same name are one entity
SAME = 0.2  # share of the smaller column's values that two columns share, from which their values are one type


@dataclass
class Entities:
    """A table: its columns, the line of each row, and once roles are known, the label and key of each row."""

    sheet: Sheet
    columns: list[Column]
    lines: list[int]
    kind: str

    def of(self, role: str) -> list[Column]:
        """The columns with this role."""
        return [column for column in self.columns if column.role == role]

    def at(self, row: int) -> str:
        """Location of a row, for messages."""
        return self.sheet.at(Row(self.lines[row], []))


class Table(Converter):
    """A table of entities with any columns: what each holds is guessed from its name and content."""

    rank = 60
    needs = "a table with an entity a row (CSV, TSV, Parquet, XLSX), or a folder of such tables and of pictures"
    roles = frozenset(ROLES)

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether it is a table, or a folder with one."""
        return bool(files_of(source, TABLES))

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Guess the columns, ask about them, and make the entities of rows and of the values of relations."""
        tables = [_load(sheet, wishes) for path in files_of(source, TABLES) for sheet in sheets(path)]
        _refuse_unknown(tables, wishes.columns)
        for table in tables:
            _settle(table, tables, wishes)
        draft = Draft(name, str(source))
        _Builder(draft, tables).build()
        if not len(draft.triples(UNSPLIT)):
            mend = "say which columns relate entities, such as --columns relation=COLUMN"
            raise UserError(source, "no column relates the rows to anything: every value differs", mend)
        return draft


def _load(sheet: Sheet, wishes: Wishes) -> Entities:
    """The cells by column. Raises UserError, with the line, for a row that is wider or narrower than the header."""
    rows = list(sheet.rows)
    if len(rows) < 2:
        raise UserError(sheet.path, "there are no rows after the header", "write a header, then an entity a row")
    first = [one_line(cell) for cell in rows[0].cells]
    headers = first if _is_header(first, rows) else [f"column {number + 1}" for number in range(len(first))]
    body = rows[1:] if headers is first else rows
    for row in body:
        if len(row.cells) != len(headers):
            what = f"the row has {counted(len(row.cells), 'cell')}, and the first one {len(headers)}"
            raise UserError(sheet.at(row), what, "a cell that holds the separator stands in quotes")
    columns = [
        Column(header or f"column {at + 1}", [row.cells[at] for row in body], wishes.separator)
        for at, header in enumerate(headers)
    ]
    if repeated := [header for header, count in Counter(c.header for c in columns).items() if count > 1]:
        raise UserError(sheet.at(rows[0]), f"two columns are called '{shown(repeated[0])}'", "rename one")
    return Entities(sheet, columns, [row.line for row in body], singular(plain(sheet.name)) or "entity")


def _is_header(first: Sequence[str], rows: Sequence[Row]) -> bool:
    """Whether the first row names the columns: none of its cells is a number, a picture, or repeated below."""
    if any(is_number(cell) or is_picture(cell) for cell in first):
        return False
    below = [{row.cells[at] for row in rows[1:] if at < len(row.cells)} for at in range(len(first))]
    return not any(cell and cell in values for cell, values in zip(first, below, strict=True))


def _refuse_unknown(tables: Sequence[Entities], wished: Mapping[str, str]) -> None:
    headers = [column.header for table in tables for column in table.columns]
    for header in wished:
        if header not in headers:
            raise UserError(f"--columns …={header}", "there is no such column", did_you_mean(header, headers))


def _settle(table: Entities, tables: Sequence[Entities], wishes: Wishes) -> None:
    """Guess what the columns hold until the user agrees. Raises UserError if nothing names the rows."""
    wished = dict(wishes.columns)
    rows = [found for other in tables for found in labels(other.sheet.name, other.columns)]
    while True:
        guess(table.columns, wished, rows)
        changes = wishes.ask(table.sheet.name, guesses(table.columns))
        _refuse_unknown([table], changes)
        if not changes:
            break
        wished |= changes
    if not table.of("name") and not table.of("key"):
        what = "no column names the entities: in every one values repeat, or are numbers or long texts"
        raise UserError(table.sheet.path, what, "say which does: --columns name=COLUMN")


class _Builder:
    """Makes the draft of tables whose columns have roles."""

    def __init__(self, draft: Draft, tables: Sequence[Entities]) -> None:
        self.draft, self.tables = draft, tables
        self.rows: dict[int, dict[str, int]] = {}  # entity by label of the rows of each table
        self.values: dict[tuple[str, str], int] = {}  # entity by type and value

    def build(self) -> None:
        """Make the entities of the rows first, then what the columns say of them."""
        keys = [_keys(table, self.draft) for table in self.tables]
        together = Counter(key for some in keys for key in set(some))
        clash = any(count > 1 for count in together.values())
        ids = [
            [self.draft.entity(f"{table.kind}/{key}" if clash else key) for key in some]
            for table, some in zip(self.tables, keys, strict=True)
        ]
        for number, (table, some) in enumerate(zip(self.tables, ids, strict=True)):
            self._describe(table, some)
            self.rows[number] = self._by_label(table, some)
        kinds = _kinds([column for table in self.tables for column in table.of("relation")])
        for table, some in zip(self.tables, ids, strict=True):
            for column in table.of("relation"):
                self._relate(column, some, kinds[id(column)])

    def _describe(self, table: Entities, ids: Sequence[int]) -> None:
        draft = self.draft
        pictures = _Pictures(table.sheet.path.parent) if table.of("image") else None
        for column in table.columns:
            for row, (entity, cell) in enumerate(zip(ids, column.cells, strict=True)):
                if column.role == "name" and cell.strip():
                    draft.names[entity] = one_line(cell)
                elif column.role == "description":
                    draft.describe(entity, cell)
                elif column.role == "type" and cell.strip():
                    draft.types[entity] = one_line(cell)
                elif column.role == "image" and pictures:
                    pictures.add(draft, entity, cell)
                elif column.role == "number":
                    self._number(table, column, entity, row)
        for entity in ids:
            draft.types.setdefault(entity, table.kind)

    def _number(self, table: Entities, column: Column, entity: int, row: int) -> None:
        values, unit = column.numbers or (None, "")
        if values is None:
            what = f"column '{column.header}' holds other things than numbers and dates"
            raise UserError(table.sheet.path, what, "give it another role in --columns")
        if values[row]:
            attribute = column.makes or " ".join(filter(None, [one_line(column.header), unit and f"({unit})"]))
            self.draft.literals.append((entity, attribute, values[row]))

    def _by_label(self, table: Entities, ids: Sequence[int]) -> dict[str, int]:
        columns = [*table.of("key"), *table.of("name")]
        return {
            one_line(cell).casefold(): one for c in reversed(columns) for one, cell in zip(ids, c.cells, strict=True)
        }

    def _relate(self, column: Column, ids: Sequence[int], kind: str) -> None:
        draft = self.draft
        label = column.makes or one_line(column.header).replace("_", " ")
        label = label[:-3] if label.lower().endswith(" id") and not column.makes else label
        relation = draft.relation(plain(label) or label)
        draft.relation_names[relation] = label
        target = self._target(column)
        for entity, values in zip(ids, column.parts, strict=True):
            for value in values:
                draft.add(UNSPLIT, entity, relation, self._value(target, kind, value))

    def _target(self, column: Column) -> Mapping[str, int]:
        """Rows by label of the table that most values name; none if they name none."""
        values = [value.casefold() for value in column.values]
        found = {number: sum(value in labels for value in values) for number, labels in self.rows.items()}
        best = max(found, key=lambda number: found[number])
        return self.rows[best] if found[best] >= 0.5 * max(len(values), 1) else {}

    def _value(self, target: Mapping[str, int], kind: str, value: str) -> int:
        if (entity := target.get(value.casefold())) is not None:
            return entity
        if (kind, value) not in self.values:
            entity = self.draft.entity(f"{name_of(kind) if not kind.isascii() else kind}/{value}")
            self.draft.names[entity], self.draft.types[entity] = value, kind
            self.values[kind, value] = entity
        return self.values[kind, value]


def _keys(table: Entities, draft: Draft) -> list[str]:
    """The key of each row: its key column, else its name. Raises UserError for a row that has none."""
    column = (table.of("key") or table.of("name"))[0]
    cells = [one_line(cell) for cell in column.cells]
    for row, cell in enumerate(cells):
        if not cell:
            raise UserError(table.at(row), f"the row has no {column.role} (column '{column.header}')", "fill the cell")
    distinct = len(set(cells))
    if distinct == len(cells):
        return cells
    if column.role == "key" or distinct < LONG_FORM * len(cells):
        draft.findings.notes.append(
            f"{table.sheet.name}: {counted(len(cells), 'row')} about {counted(distinct, 'entity')} are put together."
        )
        return cells
    seen: Counter[str] = Counter()
    keys = []
    for cell in cells:
        seen[cell] += 1
        keys.append(cell if seen[cell] == 1 else f"{cell} #{seen[cell]}")
    draft.findings.warn_of(
        "names that several rows have, each an entity of its own", [cell for cell, count in seen.items() if count > 1]
    )
    return keys


def _kinds(columns: Sequence[Column]) -> dict[int, str]:
    """Type of the values of each column; columns that share values have one type, named after the largest."""
    kinds: dict[int, str] = {}
    for column in sorted(columns, key=lambda column: -len(column.values)):
        same = (
            other
            for other in columns
            if id(other) in kinds and _shared(set(column.values), set(other.values)) and other is not column
        )
        other = next(same, None)
        kinds[id(column)] = kinds[id(other)] if other else singular(plain(column.makes or column.header)) or "value"
    return kinds


def _shared(one: set[str], other: set[str]) -> bool:
    both = len(one & other)
    return both >= 2 and both >= SAME * min(len(one), len(other))


class _Pictures:
    """Finds the files that a column names: beside the table, or anywhere below its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_name: dict[str, Path] | None = None

    def add(self, draft: Draft, entity: int, cell: str) -> None:
        """Add the pictures of a cell to an entity."""
        for part in self._parts(cell):
            if "://" in part:
                draft.picture_links.append((entity, part))
            else:
                draft.pictures.setdefault(entity, []).append(self._find(part))

    def _parts(self, cell: str) -> Iterator[str]:
        separator = next((s for s in ("|", ";") if s in cell), "\x1f")
        return filter(None, map(str.strip, cell.split(separator)))

    def _find(self, part: str) -> Path:
        path = self.folder / part.replace("\\", "/")
        if path.is_file():
            return path
        if self._by_name is None:
            self._by_name = {found.name.lower(): found for found in picture_files(self.folder)}
        name = path.name.lower()
        return self._by_name.get(name) or path
