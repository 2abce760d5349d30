"""What the gateway's routes share."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from fastapi import Request

from mmkgc.serving.api.gateway.access import Access
from mmkgc.serving.api.gateway.batcher import Batcher, Ticket
from mmkgc.serving.api.gateway.observe import Metrics
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.api.gateway.upstream import Model, Upstream
from mmkgc.serving.api.wire import Name


class Gateway:
    """Who may ask, the model, and what is measured."""

    def __init__(self, model: Model, keys: Sequence[str], limits: Limits) -> None:
        self.limits = limits
        self.access = Access(keys, limits.queries_per_second, limits.burst)
        self.upstream = Upstream(model)
        self.metrics = Metrics()
        self.batcher = Batcher(self._call, limits.workers, limits.per_call, limits.max_waiting)

    async def answer(self, request: Request, queries: Sequence[Any]) -> Ticket:
        """Answers of a request's queries; raises ``Refusal``."""
        self.access.spend(request.state.key, len(queries))
        try:
            async with asyncio.timeout(self.limits.timeout):
                ticket = await self.batcher.submit(queries)
        except TimeoutError:
            raise Refusal(503, "timeout", f"no answer within {self.limits.timeout:g} s", retry_after=1) from None
        request.scope["told"] = {"queries": len(queries), "model_version": ticket.model.get("version")}
        self.metrics.answered(ticket.model, ticket.answers)
        return ticket

    async def ask(self, request: Request, operation: str, **arguments: Any) -> dict[str, Any]:
        """Another operation of ``mmkgc.serving.engine.service``."""
        self.access.spend(request.state.key, 1)
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.upstream.ask({"operation": operation} | given)

    async def _call(self, queries: list[Any]) -> tuple[Name, list[bytes]]:
        self.metrics.call_queries.observe(len(queries))
        self.metrics.waiting.set(len(self.batcher.waiting))
        begun = time.perf_counter()
        try:
            return await self.upstream.answer(queries)
        finally:
            self.metrics.call_seconds.observe(time.perf_counter() - begun)
            self.metrics.retries.set(self.upstream.retries)
