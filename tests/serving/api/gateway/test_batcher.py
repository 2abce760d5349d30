"""Requests that share calls: who is answered by what, and how many calls are under way."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.serving.api.cost import Priced
from mmkgc.serving.api.gateway import batcher as batching
from mmkgc.serving.api.gateway.batcher import Batcher
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.wire import Name

PER_CALL = 8


def plain(*numbers: int) -> list[Priced]:
    return [Priced(b"%d" % number, 1) for number in numbers]


class Model:
    """Answers a query by itself, after a moment, and remembers its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.running: list[int] = []  # the sizes of the calls under way
        self.beginnings: list[list[int]] = []  # what was under way whenever a call began

    async def ask(self, queries: list[bytes]) -> tuple[Name, list[bytes]]:
        self.sizes.append(len(queries))
        self.running.append(len(queries))
        self.beginnings.append(list(self.running))
        await asyncio.sleep(0.001)
        self.running.remove(len(queries))
        return {"name": "m", "version": "1"}, queries


@settings(max_examples=50, deadline=None)
@given(requests=st.lists(st.integers(1, 30), max_size=30), workers=st.integers(1, 3))
def test_every_query_gets_its_own_answer_and_only_a_full_call_waits_for_a_worker(
    requests: list[int], workers: int
) -> None:
    async def run() -> Model:
        model = Model()
        batcher = Batcher(model.ask, workers, PER_CALL, call_cost=1000, max_waiting=10_000)

        async def submit(number: int, size: int) -> None:
            await asyncio.sleep(0.0005 * number)
            ticket = await batcher.submit(0, plain(*(1000 * number + place for place in range(size))))
            assert ticket.answers == [b"%d" % (1000 * number + place) for place in range(size)]

        await asyncio.gather(*(submit(number, size) for number, size in enumerate(requests)))
        return model

    model = asyncio.run(run())
    assert sum(model.sizes) == sum(requests)
    assert all(size <= PER_CALL for size in model.sizes)
    for under_way in model.beginnings:
        assert len(under_way) <= workers or (len(under_way) == workers + 1 and under_way[-1] == PER_CALL)


def test_a_large_request_uses_every_worker() -> None:
    async def run() -> Model:
        model = Model()
        await Batcher(model.ask, 3, PER_CALL, call_cost=1000, max_waiting=100).submit(0, plain(*range(7)))
        return model

    assert sorted(asyncio.run(run()).sizes) == [2, 2, 3]


class Worker:
    """Works on one call at a time, for as long as it costs; refuses calls with a poisonous query."""

    def __init__(self) -> None:
        self.calls: list[list[bytes]] = []
        self.ended = 0
        self.go = asyncio.Event()

    async def ask(self, queries: list[bytes]) -> tuple[Name, list[bytes]]:
        self.calls.append(queries)
        try:
            await self.go.wait()
        finally:
            self.ended += 1
        if b"poison" in queries:
            raise Refusal(503, "unavailable", "the worker died")
        return {"name": "m", "version": "1"}, queries


def costly(count: int, cost: int = 100, size: int = 1) -> list[Priced]:
    return [Priced(b"x" * size, cost)] * count


def test_calls_are_bounded_by_cost_and_a_costlier_query_goes_alone() -> None:
    async def run() -> Worker:
        worker = Worker()
        worker.go.set()
        batcher = Batcher(worker.ask, 1, 256, call_cost=1000, max_waiting=100_000)
        await asyncio.gather(batcher.submit(0, costly(25)), batcher.submit(0, [Priced(b"alone", 5000)]))
        return worker

    calls = asyncio.run(run()).calls
    assert [b"alone"] in calls
    assert max(map(len, calls)) == 10
    assert sum(map(len, calls)) == 26


def test_calls_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """TorchServe refuses a larger call, and with it whoever shares it."""
    monkeypatch.setattr(batching, "CALL_BYTES", 1000)

    async def run() -> Worker:
        worker = Worker()
        worker.go.set()
        batcher = Batcher(worker.ask, 1, 256, call_cost=10**6, max_waiting=10**6)
        requests = [costly(1, 1, 900)] * 5 + [plain(1)] * 20
        await asyncio.gather(*(batcher.submit(0, queries) for queries in requests))
        return worker

    assert all(sum(map(len, call)) <= 1000 for call in asyncio.run(run()).calls)


def test_a_small_request_does_not_wait_for_a_large_one() -> None:
    async def run() -> Worker:
        worker = Worker()
        batcher = Batcher(worker.ask, 1, 256, call_cost=1000, max_waiting=100_000)
        large = asyncio.create_task(batcher.submit(0, costly(500)))
        await asyncio.sleep(0)
        small = asyncio.create_task(batcher.submit(1, plain(7)))
        await asyncio.sleep(0)
        worker.go.set()
        await small
        assert not large.done()
        await large
        return worker

    calls = asyncio.run(run()).calls
    assert calls[2] == [b"7"]  # one call is worked at when it comes, and it is the large one's turn again


def test_one_key_cannot_fill_the_queue_of_another() -> None:
    async def run() -> None:
        worker = Worker()
        batcher = Batcher(worker.ask, 1, 256, call_cost=100, max_waiting=1000)
        first = asyncio.create_task(batcher.submit(0, costly(12)))
        with pytest.raises(Refusal, match="of this key are waiting"):  # more than fits, at once
            await first
        first = asyncio.create_task(batcher.submit(0, costly(10)))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await batcher.submit(0, costly(10))
        assert refused.value.status_code == 429
        other = asyncio.create_task(batcher.submit(1, plain(1)))
        worker.go.set()
        await asyncio.gather(first, other)
        assert not batcher.costs.total()
        assert not batcher.sizes.total()
        assert not batcher.queries

    asyncio.run(run())


def test_whoever_gives_up_takes_the_waiting_queries_along_and_ends_the_call() -> None:
    async def run() -> None:
        worker = Worker()
        batcher = Batcher(worker.ask, 1, 256, call_cost=1000, max_waiting=100_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await batcher.submit(0, costly(50))
        await asyncio.sleep(0.01)
        assert worker.ended == len(worker.calls) == 1
        assert not batcher.waiting
        assert not batcher.costs.total()
        assert not batcher.running

    asyncio.run(run())


def test_a_request_that_the_model_cannot_answer_fails_alone() -> None:
    async def run() -> None:
        worker = Worker()
        batcher = Batcher(worker.ask, 1, 256, call_cost=1000, max_waiting=100_000)
        blocking = asyncio.create_task(batcher.submit(0, plain(0)))
        await asyncio.sleep(0)
        poison = asyncio.create_task(batcher.submit(0, [Priced(b"poison", 1)]))
        others = [asyncio.create_task(batcher.submit(1, plain(number))) for number in range(3)]
        await asyncio.sleep(0)
        worker.go.set()
        with pytest.raises(Refusal, match="the worker died"):
            await poison
        assert [(await other).answers for other in others] == [[b"0"], [b"1"], [b"2"]]
        await blocking
        assert any(b"poison" in call and len(call) > 1 for call in worker.calls)

    asyncio.run(run())
