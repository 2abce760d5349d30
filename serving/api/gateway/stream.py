"""Answers as lines of JSON (NDJSON), each sent as soon as it and all before it are there."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse
from pydantic_core import to_json
from starlette.types import Message, Receive, Scope, Send

from mmkgc.serving.api.cost import Priced, priced
from mmkgc.serving.api.gateway.batcher import Ticket
from mmkgc.serving.api.gateway.gateway import Gateway
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.protocol import ErrorCode, QueryError
from mmkgc.serving.api.wire import line

MEDIA_TYPE = "application/x-ndjson"
AT_ONCE = 2  # portions of one stream at the batcher: one is answered, the other waits
CALLS = 2  # a portion fills that many calls to the model
LONGEST_PAUSE = 1.0  # seconds between two attempts to enter the next portion
CODES = {"timeout": ErrorCode.OUT_OF_TIME, "too_costly": ErrorCode.TOO_COSTLY}


def is_wanted(request: Request) -> bool:
    """Whether the header ``Accept`` names the media type of lines."""
    accepted = request.headers.get("accept", "").split(",")
    return any(kind.partition(";")[0].strip().lower() == MEDIA_TYPE for kind in accepted)


class Lines(StreamingResponse):
    """A response of lines; it is broken off if the client reads nothing for ``Limits.timeout`` seconds."""

    media_type = MEDIA_TYPE

    def __init__(self, stream: "Stream", queries: Sequence[Any]) -> None:
        super().__init__(stream.lines(queries))
        self.stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the lines, until the last one or until the client goes away."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self.stream.limits.timeout):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self.stream.close()
            scope["told"] = self.stream.told


class Stream:
    """A streamed request of an API key; ``close`` it in the end.

    Where a request with one document as answer would be refused with 429, a stream waits. A query that costs too much,
    or that the model did not answer, has a line with the error. If the model answers nothing of a whole portion, the
    rest of the queries is not sent to it. Raises ``Refusal`` 429 if the key has too many streams.
    """

    def __init__(self, gateway: Gateway, key: int) -> None:
        self.gateway, self.limits, self.key = gateway, gateway.limits, key
        if gateway.streams[key] >= self.limits.streams:
            raise Refusal(429, "busy", f"{self.limits.streams} streams of this key are open", retry_after=1)
        gateway.streams[key] += 1
        self.entered: deque[Ticket] = deque()
        self.pause = 0.0
        self.broken: Exception | None = None  # why the model answers nothing
        self.told: dict[str, Any] = {"queries": 0, "cost": 0, "model_version": None}

    def close(self) -> None:
        """Remove what waits at the batcher."""
        self.gateway.streams[self.key] -= 1
        for ticket in self.entered:
            self.gateway.batcher.leave(ticket)

    async def lines(self, queries: Sequence[Any]) -> AsyncIterator[bytes]:
        """The lines, in the order of the queries."""
        for portion in self._portions(queries):
            while not self._enter(portion):
                if self.entered:
                    async for ready in self._first():
                        yield ready
                else:
                    await asyncio.sleep(min(self.pause, LONGEST_PAUSE))
        while self.entered:
            async for ready in self._first():
                yield ready

    def _portions(self, queries: Sequence[Any]) -> Iterator[list[Priced]]:
        """The queries in portions of at most two calls to the model; one that costs too much is alone."""
        most = min(CALLS * self.limits.call_cost, self._dearest)
        portion: list[Priced] = []
        spent = 0
        for query in map(priced, queries):  # not all at once, which would block other requests
            if portion and (spent + query.cost > most or len(portion) == CALLS * self.limits.per_call):
                yield portion
                portion, spent = [], 0
            portion.append(query)
            spent += query.cost
        yield portion

    @property
    def _dearest(self) -> int:
        """The cost of the dearest query that is answered."""
        return min(self.limits.max_cost, self.limits.burst, self.limits.max_waiting)

    def _enter(self, portion: list[Priced]) -> bool:
        """Hand a portion to the batcher; False, with a ``pause``, if it has to wait."""
        self.pause = 0.0
        if len(self.entered) == AT_ONCE:
            return False
        cost = sum(query.cost for query in portion)
        if self.broken or cost > self._dearest:
            self.entered.append(Ticket(self.key, portion))
            self.entered[-1].taken = len(portion)
            self.entered[-1].fail(self.broken or _too_costly(cost, self._dearest))
            return True
        try:
            self.gateway.batcher.check_room(self.key, portion)
            self.gateway.access.spend(self.key, cost)
        except Refusal as refusal:
            self.pause = refusal.retry_after or LONGEST_PAUSE
            return False
        self.told["cost"] += cost
        self.entered.append(self.gateway.batcher.enter(self.key, portion))
        return True

    async def _first(self) -> AsyncIterator[bytes]:
        """The lines of the portion that entered first, which then leaves."""
        ticket, sent = self.entered[0], 0
        while sent < len(ticket.queries):
            await self._arrival(ticket, sent)
            ready = ticket.ready(sent) if ticket.is_well else len(ticket.queries)
            if not ticket.is_well:
                self._fill_up(ticket)
            yield b"".join(map(line, ticket.answers[sent:ready], ticket.models[sent:ready]))
            sent = ready
        self.entered.popleft()
        self.gateway.batcher.leave(ticket)
        self.gateway.metrics.answered(ticket.model, ticket.answers)
        self.told["queries"] += len(ticket.queries)
        self.told["model_version"] = ticket.model.get("version")

    async def _arrival(self, ticket: Ticket, sent: int) -> None:
        """Wait for the next answer, or until the portion fails."""
        try:
            async with asyncio.timeout(self.limits.timeout):
                while ticket.is_well and ticket.ready(sent) == sent:
                    ticket.arrived.clear()
                    await ticket.arrived.wait()
        except TimeoutError:
            ticket.fail(Refusal(503, "timeout", f"no answer within {self.limits.timeout:g} s"))

    def _fill_up(self, ticket: Ticket) -> None:
        """Answer what is missing with the error of the portion."""
        error = ticket.done.exception()
        assert isinstance(error, Exception)
        if not any(ticket.answers) and not _is_too_costly(error):
            self.broken = error
        code = CODES.get(getattr(error, "code", ""), ErrorCode.UNAVAILABLE)
        message = error.detail if isinstance(error, Refusal) else "the gateway failed; its log says why"
        failed = to_json(QueryError(code, message).as_answer())
        ticket.answers = [answer or failed for answer in ticket.answers]


def _too_costly(cost: int, most: int) -> Refusal:
    return Refusal(413, "too_costly", f"this query costs {cost}, over the limit of {most}; ask for fewer predictions")


def _is_too_costly(error: Exception) -> bool:
    return isinstance(error, Refusal) and error.code == "too_costly"
