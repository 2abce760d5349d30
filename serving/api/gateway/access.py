"""API keys and their rate limits."""

import hmac
import time
from collections.abc import Sequence

from mmkgc.serving.api.gateway.refusal import Refusal

SHORTEST_KEY = 16
UNAUTHORIZED = Refusal(401, "unauthorized", "send an API key as `Authorization: Bearer KEY`")


class Access:
    """API keys, each rate-limited by a token bucket.

    Raises ``ValueError`` for a key of fewer than 16 characters, in particular for an empty key.
    """

    def __init__(self, keys: Sequence[str], per_second: float, burst: int) -> None:
        if any(len(key) < SHORTEST_KEY for key in keys):
            raise ValueError(f"an API key has fewer than {SHORTEST_KEY} characters")
        self.keys = [key.encode() for key in keys]
        self.per_second, self.burst = per_second, burst
        self._buckets = [(float(burst), time.monotonic()) for _ in keys]

    def find(self, header: bytes) -> int | None:
        """Number of the key in an ``Authorization`` header; ``None`` if there is no such key.

        All keys are compared in constant time, to prevent timing attacks.
        """
        scheme, _, given = header.partition(b" ")
        matches = [hmac.compare_digest(given, key) for key in self.keys]
        return matches.index(True) if scheme.lower() == b"bearer" and any(matches) else None

    def spend(self, key: int, queries: int) -> None:
        """Take the cost of ``queries`` plain ones from the key's bucket; raises ``Refusal`` 429 if it has less."""
        level, seen = self._buckets[key]
        now = time.monotonic()
        level = min(self.burst, level + (now - seen) * self.per_second)
        if queries > level:
            self._buckets[key] = (level, now)
            wait = (queries - level) / self.per_second
            raise Refusal(429, "rate_limit", f"more than {self.per_second:g} queries/s of this key", retry_after=wait)
        self._buckets[key] = (level - queries, now)
