"""Combines the queries of many requests into few model calls."""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence

from mmkgc.serving.api.cost import Priced
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.wire import Name

Ask = Callable[[list[bytes]], Awaitable[tuple[Name, list[bytes]]]]
CALL_BYTES = 16_000_000  # the largest request fits; TorchServe accepts four times as much
WAITING_BYTES = 3 * CALL_BYTES  # per key
COSTLY = 16  # a query that costs more does not share a call with cheaper ones
PER_SECOND = 1_500  # cost that one core processes, to compute the retry time


class Ticket:
    """One request's queries and the answers received so far; the first ``taken`` queries were sent to the model."""

    def __init__(self, key: int, queries: Sequence[Priced]) -> None:
        self.key, self.queries = key, queries
        self.taken = 0
        self.answers = [b""] * len(queries)
        self.missing = len(queries)
        self.model: Name = {}
        self.models: list[Name] = [{}] * len(queries)  # a newer version may replace the model in between
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()  # set by each answer, and by a failure

    @property
    def left(self) -> Sequence[Priced]:
        """The waiting queries."""
        return self.queries[self.taken :]

    def fill(self, place: int, answer: bytes, model: Name) -> None:
        """Store the answer of the query at ``place``."""
        self.answers[place], self.models[place], self.model = answer, model, model
        self.missing -= 1
        self.arrived.set()
        if not self.missing and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: Exception) -> None:
        """Fail the request."""
        if not self.done.done():
            self.done.set_exception(error)
            self.done.exception()  # read: a stream that ends before it comes to this request is no mistake
            self.arrived.set()

    @property
    def is_well(self) -> bool:
        """Whether the request has not failed."""
        return not self.done.done() or self.done.cancelled() or self.done.exception() is None

    def ready(self, place: int) -> int:
        """The first place from ``place`` on whose answer is missing."""
        return next((at for at in range(place, len(self.answers)) if not self.answers[at]), len(self.answers))


Batch = list[tuple[Ticket, int]]  # a request, and the place of one of its queries


class Batcher:
    """Sends all waiting queries as soon as one of the model's ``workers`` is free.

    There is no delay at low load, and batches are large at high load. Requests take turns, and costly queries do not
    share a call with cheap ones, so a small request waits for at most two calls of a large one.

    A call contains at most ``per_call`` queries with a total cost of at most ``call_cost`` (a single query may cost
    more) and at most 16 MB. One full call may queue at the model for the next free worker, if its cost plus that of the
    running call is at most ``call_cost``. Waiting queries of one API key that exceed a cost of ``max_waiting`` or 48 MB
    are refused with 429.
    """

    def __init__(self, ask: Ask, workers: int, per_call: int, call_cost: int, max_waiting: int) -> None:
        self.ask, self.workers = ask, workers
        self.per_call, self.call_cost, self.max_waiting = per_call, call_cost, max_waiting
        self.waiting: deque[Ticket] = deque()
        self.costs: Counter[int] = Counter()  # of waiting queries, by API key
        self.sizes: Counter[int] = Counter()
        self.queries = 0  # number waiting
        self.running: dict[asyncio.Task[None], Batch] = {}

    async def submit(self, key: int, queries: Sequence[Priced]) -> Ticket:
        """Wait until every query is answered; raises ``Refusal`` 429 if too many queries of this key are waiting.

        If the caller is cancelled, its unsent queries are removed, and calls that serve no other request are cancelled.
        """
        if not queries:  # all queries were invalid; the answer still names the model
            ticket = Ticket(key, queries)
            ticket.model, _ = await self.ask([])
            return ticket
        ticket = self.enter(key, queries)
        try:
            await ticket.done
        finally:
            self.leave(ticket)
        return ticket

    def enter(self, key: int, queries: Sequence[Priced]) -> Ticket:
        """Let queries wait for their answers, until ``leave``; raises as ``submit`` does."""
        self.check_room(key, queries)
        ticket = Ticket(key, queries)
        self.waiting.append(ticket)
        self._count(ticket, 1)
        self._start_calls()
        return ticket

    def check_room(self, key: int, queries: Sequence[Priced]) -> None:
        """Raise ``Refusal`` 429 if too many queries of this key are waiting to take these in addition."""
        cost = self.costs[key] + sum(query.cost for query in queries)
        size = self.sizes[key] + sum(len(query.content) for query in queries)
        if cost > self.max_waiting or size > WAITING_BYTES:
            raise Refusal(429, "busy", "too many queries of this key are waiting", retry_after=cost / PER_SECOND)

    def _count(self, ticket: Ticket, sign: int) -> None:
        """Add (``sign`` 1) or subtract (−1) a request's waiting queries."""
        self.costs[ticket.key] += sign * sum(query.cost for query in ticket.left)
        self.sizes[ticket.key] += sign * sum(len(query.content) for query in ticket.left)
        self.queries += sign * len(ticket.left)

    def leave(self, ticket: Ticket) -> None:
        """Remove the unsent queries of a request, and cancel calls that serve no other one."""
        if not ticket.done.done():
            ticket.done.cancel()
        if ticket.left:
            self.waiting.remove(ticket)
            self._count(ticket, -1)
        for task, batch in list(self.running.items()):
            if all(other.done.done() for other, _ in batch):
                task.cancel()

    def _start_calls(self) -> None:
        while self.waiting:
            free = self.workers - len(self.running)
            budget = self.call_cost if free > 0 else self.call_cost - max(map(_cost, self.running.values()))
            full = self.queries >= self.per_call and budget >= self.per_call
            if free < 0 or (free == 0 and not full):
                return
            share = -(-self.queries // max(1, free))  # one large request uses every worker
            batch = self._take(min(share, self.per_call), budget)
            task = asyncio.create_task(self._call(batch))
            self.running[task] = batch
            task.add_done_callback(self._finished)

    def _take(self, count: int, budget: int) -> Batch:
        """The next call: a query of each waiting request in turn, all costly or all cheap, until the call is full."""
        batch: Batch = []
        others: list[Ticket] = []
        cost = size = 0
        while self.waiting and len(batch) < count:
            ticket = self.waiting.popleft()
            query = ticket.queries[ticket.taken]
            cost, size = cost + query.cost, size + len(query.content)
            if batch and (_is_costly(batch) != (query.cost > COSTLY) or cost > budget or size > CALL_BYTES):
                others.append(ticket)
                cost, size = cost - query.cost, size - len(query.content)
                continue
            batch.append(self._take_from(ticket))
        self.waiting.extendleft(reversed(others))  # they are first in the next call
        return batch

    def _take_from(self, ticket: Ticket) -> tuple[Ticket, int]:
        place, query = ticket.taken, ticket.queries[ticket.taken]
        ticket.taken += 1
        self.costs[ticket.key] -= query.cost
        self.sizes[ticket.key] -= len(query.content)
        self.queries -= 1
        if ticket.taken < len(ticket.queries):
            self.waiting.append(ticket)
        return ticket, place

    def _finished(self, task: "asyncio.Task[None]") -> None:
        del self.running[task]
        self._start_calls()

    async def _call(self, batch: Batch) -> None:
        try:
            model, answers = await self.ask([ticket.queries[place].content for ticket, place in batch])
            answered = list(zip(batch, answers, strict=True))
        except Exception as error:  # any error must reach the waiting requests
            await self._failed(batch, error)
            return
        for (ticket, place), answer in answered:
            ticket.fill(place, answer, model)

    async def _failed(self, batch: Batch, error: Exception) -> None:
        """Handle a failed call.

        If several requests shared it, each is retried alone, since one of them may be the cause; after a timeout, or if
        there is only one, the requests fail.
        """
        tickets = {ticket for ticket, _ in batch if not ticket.done.done()}
        if len(tickets) > 1 and isinstance(error, Refusal) and error.code != "timeout":
            for one in tickets:
                await self._call([(ticket, place) for ticket, place in batch if ticket is one])
        else:
            for ticket in tickets:
                ticket.fail(error)


def _cost(batch: Batch) -> int:
    return sum(ticket.queries[place].cost for ticket, place in batch)


def _is_costly(batch: Batch) -> bool:
    ticket, place = batch[0]
    return ticket.queries[place].cost > COSTLY
