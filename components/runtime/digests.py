"""SHA-256 digests, which name artifacts and detect changes."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = ("pipeline", "components", "feature_store", "serving")


def of_bytes(data: bytes) -> str:
    """Digest of bytes, as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def of_json(value: Any) -> str:
    """Digest of a JSON value; independent of key order."""
    return of_bytes(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())


def of_file(path: Path) -> str:
    """Digest of a file's bytes, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_folder(folder: Path) -> str:
    """Digest of every file below ``folder``: names and bytes, without times."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return of_json([[path.relative_to(folder).as_posix(), of_file(path)] for path in files])


@cache
def of_code(*packages: str) -> str:
    """Digest of the source of ``packages``, by default of all that are installed.

    A parameter of cached steps, whose cache key does not include code.
    """
    root = Path(__file__).parents[2]
    folders = [root / package for package in packages or PACKAGES]
    sources = sorted(path for folder in folders for path in folder.rglob("*") if _is_source(path))
    return of_json([[path.relative_to(root).as_posix(), of_file(path)] for path in sources])[:16]


def _is_source(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
