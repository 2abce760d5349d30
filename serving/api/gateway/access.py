"""API keys and their rate limits."""

import hmac
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.gateway.refusal import Refusal

SHORTEST_KEY = 16
REREAD_SECONDS = 2.0
log = logging.getLogger("mmkgc.gateway")
UNAUTHORIZED = Refusal(401, "unauthorized", "no API key, or an unknown one; send it as `Authorization: Bearer KEY`")


class KeyFile(list[str]):
    """The API keys of a file; ``changed`` reads it again, so that keys can be changed while the gateway runs."""

    def __init__(self, path: Path, read: Callable[[Path], list[str]]) -> None:
        super().__init__(read(path))
        self.path, self.read = path, read
        self.seen = _state(path)

    def changed(self) -> list[str] | None:
        """The keys, if the file has changed; a file without a valid key is reported once and changes nothing."""
        if (state := _state(self.path)) == self.seen:
            return None
        self.seen = state
        try:
            keys = self.read(self.path)
        except UserError as error:
            log.warning("the API keys stay as they were: %s", error)
            return None
        log.info("%d API keys were read again from %s", len(keys), self.path)
        return keys


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()  # of the file that a link leads to: a mounted secret is replaced by another link
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


class Access:
    """API keys, each rate-limited by a token bucket; keys of a ``KeyFile`` are read again when it changes.

    Raises ``ValueError`` for a key of fewer than 16 characters, in particular for an empty key.
    """

    def __init__(self, keys: Sequence[str], per_second: float, burst: int) -> None:
        if any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(f"an API key has fewer than {SHORTEST_KEY} characters")
        self.file = keys if isinstance(keys, KeyFile) else None
        self.numbers = {key.encode(): number for number, key in enumerate(keys)}
        self.per_second, self.burst = per_second, burst
        self._buckets = {number: (float(burst), time.monotonic()) for number in self.numbers.values()}
        self._next_look = 0.0

    def find(self, header: bytes) -> int | None:
        """Number of the key in an ``Authorization`` header; ``None`` if there is no such key.

        All keys are compared in constant time, to prevent timing attacks.
        """
        self._look()
        scheme, _, given = header.partition(b" ")
        matches = [number for key, number in self.numbers.items() if hmac.compare_digest(given, key)]
        return matches[0] if scheme.lower() == b"bearer" and matches else None

    def spend(self, key: int, queries: int) -> None:
        """Take the cost of ``queries`` plain ones from the key's bucket; raises ``Refusal`` 429 if it has less."""
        now = time.monotonic()
        level, seen = self._buckets.get(key, (0.0, now))  # a key that was removed meanwhile has nothing left
        level = min(self.burst, level + (now - seen) * self.per_second)
        if queries > level:
            self._buckets[key] = (level, now)
            wait = (queries - level) / self.per_second
            raise Refusal(429, "rate_limit", f"more than {self.per_second:g} queries/s of this key", retry_after=wait)
        self._buckets[key] = (level - queries, now)

    def _look(self) -> None:
        """Read the keys again if their file has changed; a key that stays keeps its number and its bucket."""
        now = time.monotonic()
        if self.file is None or now < self._next_look:
            return
        self._next_look = now + REREAD_SECONDS
        if (keys := self.file.changed()) is None:
            return
        free = max(self._buckets, default=-1) + 1
        self.numbers = {
            key: self.numbers.get(key, free + place) for place, key in enumerate(key.encode() for key in keys)
        }
        for number in self.numbers.values():
            self._buckets.setdefault(number, (float(self.burst), now))
