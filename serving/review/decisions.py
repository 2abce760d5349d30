"""Reviewers' decisions on proposed triples: a durable log that supports parallel writers."""

import fcntl
import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from mmkgc.components.runtime.settings import Settings

Triple = tuple[str, str, str]


class Status(StrEnum):
    """What became of a proposal."""

    OPEN = "open"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNSURE = "unsure"


class Decisions:
    """An append-only file of JSON lines, one per decision; the last decision on a triple is valid.

    Decisions refer to triples, not to a file of proposals, so a triple stays decided when a later model proposes it
    again. Several processes of one machine may write at the same time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest: dict[Triple, dict[str, Any]] = {}
        self._position, self._lock = 0, Lock()

    @classmethod
    def of_model(cls, name: str) -> "Decisions":
        """The decisions on a registered model's proposals: ``$MMKGC_HOME/decisions/<name>.jsonl``."""
        return cls(Settings.from_env().home / "decisions" / f"{name}.jsonl")

    def status(self, triple: Triple) -> Status:
        """Status of a triple, as of the last ``refresh``."""
        found = self.latest.get(triple)
        return Status(found["status"]) if found else Status.OPEN

    def refresh(self) -> "Decisions":
        """Read what any process has appended since the last call; lines truncated by a crash are ignored."""
        with self._lock:
            if self.path.exists():
                with self.path.open("rb") as file:
                    file.seek(self._position)
                    whole, newline, _ = file.read().rpartition(b"\n")
                self._position += len(whole) + len(newline)
                for line in whole.splitlines():
                    self._take(line)
        return self

    def append(self, triple: Triple, status: Status, about: Mapping[str, Any]) -> None:
        """Append a decision with the further fields ``about``; it is synced to disk on return."""
        parts = dict(zip(("head", "relation", "tail"), triple, strict=True))
        line = json.dumps(parts | {"status": status.value, **about}).encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(b"\n" + line if _is_torn(file) else line)
            file.flush()
            os.fsync(file.fileno())

    def _take(self, line: bytes) -> None:
        try:
            decision = json.loads(line)
            triple = decision["head"], decision["relation"], decision["tail"]
            Status(decision["status"])
            self.latest[triple] = decision
        except (ValueError, KeyError, TypeError):
            return


def _is_torn(file: Any) -> bool:
    """Whether the last line of the file is incomplete."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read() != b"\n"
