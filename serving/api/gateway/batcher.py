"""Queries of many requests, answered in few calls."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.wire import Name

Ask = Callable[[list[Any]], Awaitable[tuple[Name, list[bytes]]]]


class Ticket:
    """One request's queries and the answers that have come so far."""

    def __init__(self, queries: Sequence[Any]) -> None:
        self.queries = queries
        self.answers = [b""] * len(queries)
        self.missing = len(queries)
        self.model: Name = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fill(self, place: int, answer: bytes, model: Name) -> None:
        """Put one answer into its place."""
        self.answers[place], self.model = answer, model
        self.missing -= 1
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Give the request up."""
        if not self.done.done():
            self.done.set_exception(error)


class Batcher:
    """Sends waiting queries as soon as one of the model's ``workers`` is free, as many as are waiting: no delay at low
    load, large batches at high load.

    A call holds at most ``per_call`` queries; a full one, which would grow no more, may wait at the model for the next
    free worker. More than ``max_waiting`` waiting queries are refused with 429.
    """

    def __init__(self, ask: Ask, workers: int, per_call: int, max_waiting: int) -> None:
        self.ask, self.workers, self.per_call, self.max_waiting = ask, workers, per_call, max_waiting
        self.waiting: deque[tuple[Ticket, int]] = deque()
        self.running: set[asyncio.Task[None]] = set()

    async def submit(self, queries: Sequence[Any]) -> Ticket:
        """Wait until every query is answered; raises ``Refusal`` 429 if too many wait already."""
        if len(self.waiting) + len(queries) > self.max_waiting:
            raise Refusal(429, "busy", "too many queries are waiting", retry_after=1)
        ticket = Ticket(queries)
        self.waiting.extend((ticket, place) for place in range(len(queries)))
        self._start_calls()
        if queries:
            await ticket.done
        else:  # all were refused before; who would have answered is still to be told
            ticket.model, _ = await self.ask([])
        return ticket

    def _start_calls(self) -> None:
        while self.waiting:
            free = self.workers - len(self.running)
            full = len(self.waiting) >= self.per_call
            if free < 0 or (free == 0 and not full):
                return
            share = -(-len(self.waiting) // max(1, free))  # one large request uses every worker
            batch = [self.waiting.popleft() for _ in range(min(share, self.per_call))]
            batch = [(ticket, place) for ticket, place in batch if not ticket.done.done()]  # nobody waits any more
            if batch:
                task = asyncio.create_task(self._call(batch))
                self.running.add(task)
                task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self.running.discard(task)
        self._start_calls()

    async def _call(self, batch: list[tuple[Ticket, int]]) -> None:
        try:
            model, answers = await self.ask([ticket.queries[place] for ticket, place in batch])
        except Exception as error:  # whoever waits must hear of it, whatever it was
            for ticket, _ in batch:
                ticket.fail(error)
            return
        for (ticket, place), answer in zip(batch, answers, strict=True):
            ticket.fill(place, answer, model)
