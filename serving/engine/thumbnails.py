"""Reads the thumbnails of entities from a bundle."""

from pathlib import Path

from safetensors import safe_open

FILE = "thumbnails.safetensors"


class Thumbnails:
    """WebP pictures by entity key, from a memory-mapped file; empty if the file is missing."""

    def __init__(self, path: Path | None) -> None:
        self._file = safe_open(path, framework="np") if path and path.exists() else None
        self.keys = frozenset(self._file.keys()) if self._file else frozenset()

    def get(self, key: str) -> bytes | None:
        """The picture of an entity, or ``None``."""
        return self._file.get_tensor(key).tobytes() if self._file and key in self.keys else None
