"""Who may ask, and how much."""

import hmac
import time
from collections.abc import Sequence

from mmkgc.serving.api.gateway.refusal import Refusal


class Access:
    """API keys, each with a bucket of queries that refills steadily."""

    def __init__(self, keys: Sequence[str], per_second: float, burst: int) -> None:
        self.keys = [key.encode() for key in keys]
        self.per_second, self.burst = per_second, burst
        self._buckets = [(float(burst), time.monotonic()) for _ in keys]

    def admit(self, header: str) -> int:
        """Number of the key in an ``Authorization`` header; raises ``Refusal`` 401.

        Every key is compared in constant time, so that the time tells nothing about them.
        """
        scheme, _, given = header.partition(" ")
        matches = [hmac.compare_digest(given.encode("utf-8", "surrogateescape"), key) for key in self.keys]
        if scheme.lower() != "bearer" or not any(matches):
            raise Refusal(401, "unauthorized", "send an API key as `Authorization: Bearer KEY`")
        return matches.index(True)

    def spend(self, key: int, queries: int) -> None:
        """Take ``queries`` from the key's bucket; raises ``Refusal`` 429 if it holds fewer."""
        level, seen = self._buckets[key]
        now = time.monotonic()
        level = min(self.burst, level + (now - seen) * self.per_second)
        if queries > level:
            self._buckets[key] = (level, now)
            wait = (queries - level) / self.per_second
            raise Refusal(429, "rate_limit", f"more than {self.per_second:g} queries/s of this key", retry_after=wait)
        self._buckets[key] = (level - queries, now)
