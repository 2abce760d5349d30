"""Tables as text: CSV, TSV and other delimited files, Parquet, and sheets of workbooks, as rows of cells."""

import codecs
import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required

DELIMITERS = "\t,;|"
DELIMITED = (".csv", ".tsv", ".tab", ".txt", ".del")
PARQUET = (".parquet", ".pq")
WORKBOOKS = (".xlsx", ".xls", ".xlsm", ".xlsb", ".ods")
TABLES = (*DELIMITED, *PARQUET, *WORKBOOKS)
PACKED = (".gz", ".bz2", ".zst")
LIST = "\x1f"
"""Separates the values of a cell that is a list in Parquet: ASCII's unit separator, which no text has."""
SAMPLE = 100_000  # bytes that show encoding and delimiter
csv.field_size_limit(10_000_000)


@dataclass(frozen=True)
class Row:
    """Cells of one row, and the line of the file (or row of the sheet) where it ends."""

    line: int
    cells: list[str]


@dataclass(frozen=True)
class Sheet:
    """A table: its rows, read once, and where they come from."""

    path: Path
    name: str
    rows: Iterator[Row]

    def at(self, row: Row) -> str:
        """Location of a row, for messages."""
        return f"{self.path}, line {row.line}"


def suffix_of(path: Path) -> str:
    """The suffix in lower case, without one of packing: ``.csv`` of ``films.CSV.gz``."""
    name = path.name.lower()
    return Path(name.removesuffix(next((end for end in PACKED if name.endswith(end)), ""))).suffix


def files_of(source: Path, suffixes: Collection[str]) -> list[Path]:
    """The file itself, or the files of the folder in alphabetical order, with one of the suffixes, packed or not."""
    paths = sorted(source.iterdir()) if source.is_dir() else [source]
    return [path for path in paths if path.is_file() and suffix_of(path) in suffixes]


def stem_of(path: Path) -> str:
    """The name without suffixes of packing and format."""
    name = path.name
    for end in PACKED:
        name = name[: -len(end)] if name.lower().endswith(end) else name
    return Path(name).stem


def sheets(path: Path) -> list[Sheet]:
    """The tables of a file; only workbooks have several. Raises UserError for a file that cannot be read."""
    suffix, stem = suffix_of(path), stem_of(path)
    if suffix in PARQUET:
        return [Sheet(path, stem, _parquet(path))]
    if suffix in WORKBOOKS:
        return _workbook(path, stem)
    return [Sheet(path, stem, delimited(path))]


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked if it is packed. Raises UserError if it cannot be read."""
    import pyarrow as pa

    try:
        with pa.input_stream(str(path), compression="detect") as stream:
            yield stream
    except OSError as error:
        what = f"this file cannot be read ({error.strerror or error})"
        raise UserError(path, what, "check that it is complete, and that the user of mmkgc may read it") from error


def delimited(path: Path) -> Iterator[Row]:
    """Rows of a delimited file, lazily: blank lines are left out.

    Encoding (UTF-8, UTF-16, else Windows-1252) and delimiter are found. In tab-separated files without quotes at
    both ends of cells, quotes are plain characters. Raises UserError, with the line, for malformed text.
    """
    with opened(path) as stream:
        start = stream.read(SAMPLE)
        encoding = _encoding(start)
        sample = codecs.getincrementaldecoder(encoding)("replace").decode(start)
        delimiter = _delimiter(sample)
        plain = delimiter in "\t " and not any(
            _quoted(cell) for cell in sample.replace("\n", delimiter).split(delimiter)
        )
    with opened(path) as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        reader = csv.reader(
            text,
            delimiter=delimiter,
            quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
            skipinitialspace=delimiter == " ",
        )
        try:
            for cells in reader:
                if any(cells):
                    yield Row(reader.line_num, cells)
        except UnicodeDecodeError as error:
            what = f"this text is not {encoding}"
            raise UserError(f"{path}, after line {reader.line_num}", what, "save the file in UTF-8") from error
        except csv.Error as error:
            raise UserError(
                f"{path}, line {reader.line_num}", f"this is no table ({error})", "save it as CSV"
            ) from error


def _quoted(cell: str) -> bool:
    cell = cell.strip("\r")
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _encoding(start: bytes) -> str:
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


def _delimiter(sample: str) -> str:
    """The delimiter that gives most rows the same number of columns, above one; blanks only if there is no other."""
    lines = sample.splitlines()[:200]
    lines = lines[:-1] if len(lines) > 2 and not sample.endswith("\n") else lines

    def fit(delimiter: str) -> tuple[float, int]:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter) if row)
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        return (count / max(sum(widths.values()), 1), width) if width > 1 else (0.0, 1)

    try:
        fits = {delimiter: fit(delimiter) for delimiter in DELIMITERS}
    except csv.Error:
        return "\t"
    best = max(fits, key=lambda delimiter: (round(fits[delimiter][0], 1), fits[delimiter][1]))
    if fits[best][0]:
        return best
    return " " if fit(" ") == (1.0, 3) else ","


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        yield Row(1, list(file.schema_arrow.names))
        line = 1
        for batch in file.iter_batches():
            columns = [column.to_pylist() for column in batch.columns]
            for cells in zip(*columns, strict=True):
                line += 1
                yield Row(line, [text_of(cell) for cell in cells])
    except (pa.ArrowInvalid, OSError) as error:
        raise UserError(path, f"this is no Parquet file ({error})", "write it again") from error


def _workbook(path: Path, stem: str) -> list[Sheet]:
    with required():
        import python_calamine
    try:
        with python_calamine.CalamineWorkbook.from_path(path) as book:
            named = {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}
    except (python_calamine.CalamineError, OSError) as error:
        raise UserError(path, f"this workbook cannot be read ({error})", "save its sheet as CSV") from error
    filled = {name: rows for name, rows in named.items() if any(any(map(text_of, row)) for row in rows)}
    if not filled:
        raise UserError(path, "this workbook is empty", "fill a sheet: a header, then a row for each entity")
    return [Sheet(path, stem if len(filled) == 1 else name, _sheet_rows(rows)) for name, rows in filled.items()]


def _sheet_rows(rows: Sequence[Sequence[Any]]) -> Iterator[Row]:
    for number, row in enumerate(rows, start=1):
        if any(cells := list(map(text_of, row))):
            yield Row(number, cells)


def text_of(value: Any) -> str:
    """A cell as text: whole numbers without a point, dates as ISO, the values of a list between ``LIST``."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return LIST.join(map(text_of, value))
    if isinstance(value, float):
        return "" if value != value else str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)
