"""Requests that share calls: who is answered by what, and how many calls are under way."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.serving.api.gateway.batcher import Batcher
from mmkgc.serving.api.wire import Name

PER_CALL = 8


class Model:
    """Answers a query by itself, after a moment, and remembers its calls."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.running: list[int] = []  # the sizes of the calls under way
        self.beginnings: list[list[int]] = []  # what was under way whenever a call began

    async def ask(self, queries: list[Any]) -> tuple[Name, list[bytes]]:
        self.sizes.append(len(queries))
        self.running.append(len(queries))
        self.beginnings.append(list(self.running))
        await asyncio.sleep(0.001)
        self.running.remove(len(queries))
        return {"name": "m", "version": "1"}, [b"%d" % query for query in queries]


@settings(max_examples=50, deadline=None)
@given(requests=st.lists(st.integers(1, 30), max_size=30), workers=st.integers(1, 3))
def test_every_query_gets_its_own_answer_and_only_a_full_call_waits_for_a_worker(
    requests: list[int], workers: int
) -> None:
    async def run() -> Model:
        model = Model()
        batcher = Batcher(model.ask, workers, PER_CALL, max_waiting=10_000)

        async def submit(number: int, size: int) -> None:
            await asyncio.sleep(0.0005 * number)
            ticket = await batcher.submit([1000 * number + place for place in range(size)])
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
        await Batcher(model.ask, 3, PER_CALL, max_waiting=100).submit(list(range(7)))
        return model

    assert sorted(asyncio.run(run()).sizes) == [2, 2, 3]
