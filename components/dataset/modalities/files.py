"""Content in files: checked, stored under their digests, and decoded when they are encoded."""

import os
from abc import abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkgc.components.dataset.modalities.base import Contents, Modality
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.progress import track

if TYPE_CHECKING:
    import pyarrow as pa

    from mmkgc.components.dataset.checks import Findings

THREADS = min(8, os.cpu_count() or 1)


class BadFile(Exception):
    """Why a file cannot be used."""


class FileModality(Modality):
    """A modality of files: ``column`` names them, relative to the dataset folder, several separated by ``|``.

    An item is the SHA-256 digest of a blob in the store; worker processes ``decode`` it.
    """

    @property
    def arrow(self) -> "pa.DataType":
        """Digests, none or several an entity."""
        import pyarrow as pa

        return pa.list_(pa.string())

    @abstractmethod
    def check(self, path: Path) -> bytes:
        """The file's bytes, once it is certain that they decode. Raises BadFile where they do not."""

    @abstractmethod
    def decode(self, data: bytes, config: Any) -> Any:
        """What the encoder of this ``config`` prepares, from the file's bytes. Raises Unusable."""

    def read(self, folder: Path, columns: Mapping[str, Sequence[str]]) -> Contents:
        """Paths of each entity's files."""
        cells = columns.get(str(self.column)) or [""] * len(columns["key"])
        return tuple(tuple(path.strip() for path in cell.split("|") if path.strip()) for cell in cells)

    def accept(
        self,
        contents: Contents,
        keys: Sequence[str],
        folder: Path,
        put_blob: Callable[[bytes], str],
        findings: "Findings",
    ) -> Contents:
        """Digests of each entity's stored files; what is missing or does not decode is told and left out."""
        stored = self._store({path for paths in contents for path in paths}, folder, put_blob)
        unusable = [
            f"{key}: {path} {stored[path]}"
            for key, paths in zip(keys, contents, strict=True)
            for path in paths
            if isinstance(stored[path], BadFile)
        ]
        findings.unusable_files += unusable
        findings.warn_of(f"unusable {self.noun}s, left out (graph.json lists them all)", unusable)
        digests = [[stored[path] for path in paths] for paths in contents]
        return tuple(tuple(dict.fromkeys(one for one in some if isinstance(one, str))) for some in digests)

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
                return put_blob(self.check(folder / path))
            except BadFile as reason:
                return reason

        ordered = sorted(paths)
        with ThreadPoolExecutor(THREADS) as pool:
            found = track(pool.map(store, ordered), f"{self.noun}s", len(ordered), self.noun)
            return dict(zip(ordered, found, strict=True))
