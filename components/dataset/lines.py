"""Lines of a text file with their numbers, for error messages."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mmkgc.components.runtime.errors import UserError, shown
from mmkgc.components.runtime.nouns import counted

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a file; row 0 is on line ``first``."""

    path: Path
    first: int = 1

    def at(self, row: int) -> str:
        """Location of a row: file and line."""
        return f"{self.path}, line {self.first + row}"

    def refuse_if(self, bad: np.ndarray, what: Callable[[int], str], mend: str | Callable[[int], str]) -> None:
        """Raise UserError for the first row of the mask ``bad``, with the number of further ones."""
        rows = np.flatnonzero(bad)
        if not len(rows):
            return
        row = int(rows[0])
        more = f" (and {counted(len(rows) - 1, 'more such line')})" if len(rows) > 1 else ""
        raise UserError(self.at(row), what(row) + more, mend if isinstance(mend, str) else mend(row))


@dataclass(frozen=True)
class Lines(Rows):
    """Rows of a text file with their text. Blank lines at the end of the file do not count."""

    text: pa.LargeStringArray = field(kw_only=True)

    @classmethod
    def read(cls, path: Path, mend: str) -> "Lines":
        """Read a file; ``mend`` describes what it should be. Raises UserError if it is missing or not UTF-8."""
        data = read_bytes(path, mend).removeprefix(BYTE_ORDER_MARK)
        try:
            text = data.decode().replace("\r\n", "\n").rstrip("\n")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
            what = f"byte {column} of the line, 0x{data[error.start]:02X}, is not UTF-8"
            raise UserError(f"{path}, line {line}", what, "save the file in the encoding UTF-8") from error
        if "\r" in text and "\n" not in text:
            what = "the lines end in a carriage return alone, so that the whole file is one line"
            raise UserError(path, what, "save it with the line endings LF or CR LF")
        return cls(path, text=pa.array(text.split("\n") if text else [], pa.large_string()))

    def __len__(self) -> int:
        return len(self.text)

    def after(self, count: int) -> "Lines":
        """The lines without the first ``count``."""
        return replace(self, text=self.text[count:], first=self.first + count)

    def fields(self, names: list[str]) -> list[pa.LargeStringArray]:
        """The tab-separated columns. Raises UserError for a line with another number of columns."""
        split = pc.split_pattern(self.text, "\t")
        widths = pc.list_value_length(split).to_numpy(zero_copy_only=False)
        self.refuse_if(
            pc.equal(self.text, "").to_numpy(zero_copy_only=False), lambda row: "the line is empty", "delete it"
        )
        self.refuse_if(
            widths != len(names),
            lambda row: f"the line has {counted(widths[row], 'column')} where {len(names)} belong",
            f"separate {', '.join(names)} by one tab each",
        )
        return [pc.list_element(split, index) for index in range(len(names))]


def read_bytes(path: Path, mend: str) -> bytes:
    """Content of a regular file. Raises UserError if there is none; ``mend`` describes what it should be."""
    if os.path.islink(path) and not os.path.exists(path):
        raise UserError(path, "this symbolic link leads to no file", "restore what it leads to, or delete the link")
    if not os.path.exists(path):  # unlike Path.exists, False for a name that no file can have
        raise UserError(path, "this file is missing", "; ".join([mend, *_alike(path)]))
    if not path.is_file():
        raise UserError(path, "this is not a regular file", mend)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            path, f"this file cannot be read ({error.strerror})", "let the user of mmkgc read it"
        ) from error


def _alike(path: Path) -> list[str]:
    """Advice about a file beside a missing one that is called almost like it: another case, packed, another suffix."""
    names = [each.name for each in path.parent.iterdir() if each.is_file()] if path.parent.is_dir() else []
    found = [name for name in sorted(names) if name.lower().partition(".")[0] == path.stem.lower()]
    return [f"'{shown(name)}' is there, but not read" for name in found[:1]]
