"""A lock on ``$MMKGC_HOME``: commands that make artifacts share it, and `mmkgc gc --delete` takes it alone.

An artifact that exists already is used again by a new run, so its age does not show that nobody needs it.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import Settings

FILE = "in-use.lock"


@contextmanager
def in_use() -> Iterator[None]:
    """Context in which nothing is deleted from the home; waits for a deletion that is going on."""
    with _file() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextmanager
def alone() -> Iterator[None]:
    """Context in which no command makes artifacts. Raises UserError if one is at work."""
    with _file() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            home = Settings.from_env().home
            raise UserError(home, "a run is at work here", "free it when the run has ended") from error
        yield


def _file() -> BinaryIO:
    home = Settings.from_env().home
    home.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(home / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")
