"""Modalities stored in files, which are checked, stored under their digests, and decoded for encoding."""

import os
import re
import stat
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkgc.components.dataset.modalities.base import Contents, Modality, Same
from mmkgc.components.runtime.errors import Unusable, UserError, shown
from mmkgc.components.runtime.progress import track

if TYPE_CHECKING:
    import pyarrow as pa

    from mmkgc.components.dataset.findings import Findings

THREADS = min(8, os.cpu_count() or 1)
LONGEST_NAME = 255  # bytes, on every usual file system
MAX_BYTES = 400_000_000


class BadFile(Exception):
    """The reason why a file cannot be used."""


class FileModality(Modality):
    """A modality of files: ``column`` names them, relative to the dataset folder, several separated by ``|``.

    An item is the SHA-256 digest of a blob in the store; worker processes ``decode`` it.
    """

    @property
    def arrow(self) -> "pa.DataType":
        """Digests; an entity may have none or several."""
        import pyarrow as pa

        return pa.list_(pa.string())

    @abstractmethod
    def check(self, data: bytes) -> None:
        """Raise Unusable if extraction cannot decode the bytes of a file."""

    @abstractmethod
    def decode(self, data: bytes, options: Mapping[str, Any]) -> Any:
        """Decode a file's bytes for an encoder with these ``options``, the values of its own configuration keys.

        Raises Unusable. Decoders raise almost anything on damaged files: catch it, as ``encoders.images.decode`` does.
        """

    def read(self, folder: Path, columns: Mapping[str, Sequence[str]]) -> Contents:
        """Paths of each entity's files."""
        if self.column not in columns:
            return Same(self.nothing, len(columns["key"]))
        cells = columns[str(self.column)]
        return tuple(tuple(path.strip() for path in cell.split("|") if path.strip()) for cell in cells)

    def accept(
        self,
        contents: Contents,
        keys: Sequence[str],
        folder: Path,
        put_blob: Callable[[bytes], str],
        findings: "Findings",
        allow_outside: bool = False,
    ) -> Contents:
        """Digests of each entity's stored files; missing or undecodable files are reported and left out.

        Raises UserError, before anything is stored, for a path outside the folder, unless ``allow_outside``.
        """
        if not any(contents):
            return contents
        if not allow_outside:
            self._refuse_outside(contents, folder)
        stored = self._store({path for paths in contents for path in paths}, folder, put_blob)
        unusable = [
            f"{shown(key)}: {shown(path)} {stored[path]}"
            for key, paths in zip(keys, contents, strict=True)
            for path in paths
            if isinstance(stored[path], BadFile)
        ]
        findings.unusable_files += unusable
        findings.warn_of(f"unusable {self.noun}s, left out (graph.json lists them all)", unusable)
        digests = [[stored[path] for path in paths] for paths in contents]
        return tuple(tuple(dict.fromkeys(one for one in some if isinstance(one, str))) for some in digests)

    def look(self, contents: Contents, folder: Path, findings: "Findings", allow_outside: bool = False) -> None:
        """Warn of files that are missing or cannot be read."""
        if not allow_outside:
            self._refuse_outside(contents, folder)
        paths = sorted({path for paths in contents for path in paths})
        reasons = {path: self._misunderstood(path) or unreadable(folder / path) for path in paths}
        bad = [f"{shown(path)} {reason}" for path, reason in reasons.items() if reason]
        findings.warn_of(f"{self.noun}s that cannot be read, of {len(paths)}", bad)

    def from_query(self, value: bytes, options: Mapping[str, Any]) -> Any:
        """The file, decoded as in extraction, within the same limits."""
        try:
            return self.decode(value, options)
        except Unusable as error:
            raise Unusable(f"the {self.noun} is not decoded: {error}") from error

    def from_cell(self, value: Any) -> Any:
        """Bytes as base64; text is base64 already."""
        return b64encode(value).decode() if isinstance(value, bytes) else value

    def from_option(self, values: Sequence[str]) -> str:
        """The bytes of a file as base64."""
        path = Path(values[-1])
        if not path.is_file():
            raise UserError(self.option, f"there is no file '{path}'", "give the path of a file")
        return b64encode(path.read_bytes()).decode()

    def _store(self, paths: set[str], folder: Path, put_blob: Callable[[bytes], str]) -> dict[str, str | BadFile]:
        """Digest of each file, or why it cannot be used."""

        def store(path: str) -> str | BadFile:
            try:
                if reason := self._misunderstood(path):
                    raise BadFile(reason)
                return put_blob(self.checked(folder / path))
            except BadFile as bad:
                return bad

        ordered = sorted(paths)
        with ThreadPoolExecutor(THREADS) as pool:
            found = track(pool.map(store, ordered), f"{self.noun}s", len(ordered), self.noun)
            return dict(zip(ordered, found, strict=True))

    def checked(self, path: Path) -> bytes:
        """The file's bytes, checked to be decodable by extraction. Raises BadFile if they are not."""
        if reason := unreadable(path):
            raise BadFile(reason + _hint(path.name))
        try:
            data = path.read_bytes()
            self.check(data)
        except OSError as error:
            raise BadFile("cannot be read") from error
        except Unusable as error:
            raise BadFile(f"cannot be used: {shown(error)}") from error
        return data

    def _refuse_outside(self, contents: Contents, folder: Path) -> None:
        """Raise UserError for the first path outside the folder: absolute, with ``..``, or through a link."""
        root = Path(os.path.realpath(folder))
        for row, paths in enumerate(contents):
            for path in paths:
                if self._misunderstood(path) or Path(os.path.realpath(root / path)).is_relative_to(root):
                    continue
                raise UserError(
                    f"{folder / 'entities.tsv'}, line {row + 2}",  # the header is line 1
                    f"the {self.noun} '{shown(path)}' leads out of the dataset folder",
                    "copy it into the folder, or set ingest.allow_outside_files=true to read it from there",
                )

    def _misunderstood(self, path: str) -> str:
        """Why the cell does not hold a path; empty if it does."""
        if path.startswith("data:"):
            return f"is a data URI, not a path: save the {self.noun} as a file"
        if "://" in path:
            return f"is an address, and nothing is fetched: download the {self.noun} into the folder"
        if "\0" in path:
            return "has a NUL character, which no file name has"
        if max(map(len, path.encode().split(b"/"))) > LONGEST_NAME:
            return f"is too long for a file name: the cell holds the path of the {self.noun}, not its content"
        return ""


def _hint(name: str) -> str:
    """How a path is written, if its last part looks like a list, or like a path of Windows."""
    if "\\" in name:
        return " (write paths with /)"
    return " (several are separated by |)" if re.search(r"\w[,;] *\w", name) else ""


def unreadable(path: Path) -> str:
    """Why a file is not opened; empty if it can be read."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return "does not exist"
    except (OSError, ValueError):
        return "cannot be read"
    if not stat.S_ISREG(found.st_mode):  # reading a pipe or a device might never end
        return "is not a regular file"
    return f"has more than {MAX_BYTES:,} bytes" if found.st_size > MAX_BYTES else ""
