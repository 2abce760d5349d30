"""Atomic writes, locks that are released when their process ends, and handling of damaged files."""

import fcntl
import glob
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

from mmkgc.components.runtime.errors import UserError

POLL_SECONDS = 0.05
YOUNG_SECONDS = 60.0
OWNER = ".owner"  # lock file of the owning process, in a temporary folder


@contextmanager
def atomic_path(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; the file or folder written there is renamed to ``path`` on success.

    An existing file is replaced atomically; an existing folder is replaced by two renames (old away, new in). After an
    exception or a kill, ``path`` is unchanged. ``durable``: sync to disk before the rename, so that this also holds
    after a power failure; use False if readers check a digest, or if the content is not read later.

    A symbolic link stays, and what it leads to is replaced. Raises UserError for a device or a pipe, which a rename
    would destroy.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file() and not path.is_dir():
        raise UserError(path, "this is a device or a pipe, and would be replaced", "give the path of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    scratch = Path(mkdtemp(prefix=_prefix(path), dir=path.parent))
    owner = None
    try:
        with suppress(OSError):  # a file system without locks: nothing is swept there
            owner = hold(scratch / OWNER)
        yield scratch / path.name
        if durable:
            _sync(scratch / path.name)
        if path.is_dir():
            os.replace(path, scratch / "replaced")
        os.replace(scratch / path.name, path)
        if durable:
            _sync_one(path.parent)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if owner:
            owner.close()


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}."


def _sweep(path: Path) -> None:
    """Remove folders of killed writers of ``path``: their lock is free. New folders may not be locked yet."""
    for left in path.parent.glob(f"{glob.escape(_prefix(path))}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > YOUNG_SECONDS and (owner := hold(left / OWNER)):
                shutil.rmtree(left, ignore_errors=True)
                owner.close()


def _sync(path: Path) -> None:
    """Sync a file, or every file below a folder, to disk."""
    for folder, _, names in os.walk(path):
        for name in names:
            _sync_one(Path(folder, name))
        _sync_one(Path(folder))
    if path.is_file():
        _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str, durable: bool = True) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: indented, keys in the given order, UTF-8."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def locked(path: Path, purpose: str, patience: float | None = None) -> Iterator[None]:
    """Hold the lock file ``path``; the system releases it when this process ends, for any reason.

    Waits up to ``patience`` seconds for another holder, without limit by default, then raises UserError.
    ``purpose`` describes the lock in the message ("training this model").
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = None if patience is None else time.monotonic() + patience
    while (file := hold(path)) is None:
        if deadline is not None and time.monotonic() > deadline:
            holder = path.read_text(errors="replace") if path.exists() else ""
            raise UserError(purpose, f"process {holder or '?'} does this already", "wait until it has ended, or end it")
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while held: waiting processes then see that the file was replaced
        file.close()


def hold(path: Path) -> BinaryIO | None:
    """The lock file ``path``, held until it is closed; None if another process or thread holds it."""
    file = path.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
            raise FileNotFoundError(path)
    except (BlockingIOError, FileNotFoundError):
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()).encode())
    file.flush()
    return file


def set_aside(path: Path, reason: str, redo: str) -> Path:
    """Rename a damaged file that mmkgc wrote, print a warning to stderr, and return the new path."""
    for number in range(1, 1000):
        aside = path.with_name(f"{path.name}.damaged-{number}")
        if not aside.exists():
            break
    path.rename(aside)
    print(f"warning: {path} is damaged ({reason}) and was set aside as {aside.name}; {redo}", file=sys.stderr)
    return aside
