"""State shared by the gateway's routes."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from mmkgc.components.runtime.nouns import counted
from mmkgc.serving.api.cost import EXPLANATION, LOOKUP, priced
from mmkgc.serving.api.gateway.access import Access
from mmkgc.serving.api.gateway.batcher import Batcher, Ticket
from mmkgc.serving.api.gateway.observe import Metrics
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.api.gateway.upstream import Model, Upstream
from mmkgc.serving.api.wire import Name

READY_SECONDS = 1.0


class Gateway:
    """Access control, the model, batching and metrics."""

    def __init__(self, model: Model, keys: Sequence[str], limits: Limits) -> None:
        self.limits = limits
        self.access = Access(keys, limits.queries_per_second, limits.burst)
        self.upstream = Upstream(model)
        self.metrics = Metrics()
        self.batcher = Batcher(self._call, limits.workers, limits.per_call, limits.call_cost, limits.max_waiting)
        self.streams: Counter[int] = Counter()  # open ones, by API key
        self.readiness = Readiness(self.upstream)

    async def answer(self, request: Request, queries: Sequence[Any]) -> Ticket:
        """Answer a request's queries. Raises ``Refusal``; if they cost too much, before any is sent to the model."""
        prices = [priced(query) for query in queries]
        cost = sum(price.cost for price in prices)
        if cost > self.limits.max_cost:
            raise _too_costly(len(queries), cost, self.limits.max_cost)
        self.access.spend(request.state.key, cost)
        try:
            async with asyncio.timeout(self.limits.timeout):
                ticket = await self.batcher.submit(request.state.key, prices)
        except TimeoutError:
            raise Refusal(503, "timeout", f"no answer within {self.limits.timeout:g} s", retry_after=1) from None
        request.scope["told"] = {"queries": len(queries), "cost": cost, "model_version": ticket.model.get("version")}
        self.metrics.answered(ticket.model, ticket.answers)
        return ticket

    async def ask(self, request: Request, operation: str, **arguments: Any) -> dict[str, Any]:
        """Request another operation of ``mmkgc.serving.engine.service``."""
        self.access.spend(request.state.key, LOOKUP)
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.upstream.ask({"operation": operation} | given)

    async def _call(self, queries: list[bytes]) -> tuple[Name, list[bytes]]:
        self.metrics.call_queries.observe(len(queries))
        self.metrics.waiting.set(self.batcher.queries)
        begun = time.perf_counter()
        try:
            return await self.upstream.answer(queries, self.limits.timeout)
        finally:
            self.metrics.call_seconds.observe(time.perf_counter() - begun)
            self.metrics.retries.set(self.upstream.retries)


class Readiness:
    """Checks that the model answers, at most once a second, since readiness requests need no key."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self._lock, self._until = asyncio.Lock(), 0.0
        self._refusal: Refusal | None = None

    async def check(self) -> None:
        """Raise ``Refusal`` 503 if the model does not answer."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._refusal = await self._asked()
                self._until = time.monotonic() + READY_SECONDS
        if self._refusal is not None:
            raise self._refusal

    async def _asked(self) -> Refusal | None:
        try:
            await self.upstream.ask({"operation": "model"}, attempts=1)
        except Refusal as refusal:
            return refusal
        return None


def _too_costly(queries: int, cost: int, most: int) -> Refusal:
    fitting = queries * most // cost
    split = f"send at most {counted(fitting, 'such query')} at once" if fitting else "ask for fewer predictions"
    return Refusal(
        413,
        "too_costly",
        f"the cost {cost} of {counted(queries, 'query')} is over the limit of {most} ({EXPLANATION}); {split}",
    )
