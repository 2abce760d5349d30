"""Answers as lines: their order, their limits, their errors, and a client that goes away."""

import asyncio
import json
import time

import httpx
import pytest
from fastapi.testclient import TestClient

from mmkgc.client import AsyncClient, Client
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.api.protocol import MAX_BATCH, Completion, Failed

KEY = "0123456789abcdef"
HEADERS = {"authorization": f"Bearer {KEY}", "accept": "application/json;q=0.1, application/x-ndjson"}
QUERIES = [{"head": f"e{index % 40}", "relation": f"r{index % 5}", "k": 1 + index % 3} for index in range(3000)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def lines(answer: httpx.Response) -> list[dict]:
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def post(model, queries, **limits) -> list[dict]:
    with TestClient(create_app(model, [KEY], Limits(**limits)), headers=HEADERS) as client:
        return lines(client.post("/v1/complete", json={"queries": queries}))


def test_there_is_a_line_for_each_query_in_their_order(engine_model, engine, near):
    asked = [*QUERIES[:1500], {"head": "nobody", "relation": "r1"}, "nonsense", *QUERIES[1500:]]
    found = post(engine_model, asked)
    assert {tuple(line.pop("model", {}).values()) for line in found} == {("mmkgc", "test")}
    assert found == near(engine.answer(asked))
    assert [line["error"]["code"] for line in found if "error" in line] == ["unknown_entity", "invalid_query"]


def test_one_document_has_at_most_so_many_queries_and_is_the_default(engine_model):
    with TestClient(create_app(engine_model, [KEY]), headers={"authorization": HEADERS["authorization"]}) as client:
        refused = client.post("/v1/complete", json={"queries": QUERIES[: MAX_BATCH + 1]})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
        assert "answers" in client.post("/v1/complete", json={"queries": QUERIES[:1]}).json()


def test_a_stream_waits_where_a_request_is_refused(engine_model):
    begun = time.monotonic()
    found = post(engine_model, QUERIES[:300], burst=100, queries_per_second=400, max_waiting=100)
    assert len(found) == 300
    assert all("predictions" in line for line in found)
    assert time.monotonic() - begun > 0.4  # 100 at once, the others at 400 a second


def test_a_query_that_costs_too_much_fails_alone(engine_model):
    dear = QUERIES[0] | {"k": 1000, "explain": True}
    found = post(engine_model, [QUERIES[0], dear, QUERIES[1]], max_cost=1000)
    assert [line.get("error", {}).get("code") for line in found] == [None, "too_costly", None]
    assert "over the limit of 1000" in found[1]["error"]["message"]
    assert all("predictions" in line for line in found[::2])


class Model:
    """The engine, which waits before each call from the ``late``-th on until it is told to go on."""

    def __init__(self, engine_model, late: int) -> None:
        self.model, self.late, self.calls, self.held = engine_model, late, 0, True

    async def ask(self, body):
        self.calls += 1
        late = self.calls >= self.late
        while late and self.held:  # a flag: another thread lets it go on
            await asyncio.sleep(0.01)
        return await self.model.ask(body)

    async def close(self) -> None:
        pass


class Away(Model):
    """Does not answer from the ``late``-th call on."""

    async def ask(self, body):
        self.calls += 1
        return (503, b"") if self.calls >= self.late else await self.model.ask(body)


def test_if_the_model_is_away_the_other_lines_say_so(engine_model, monkeypatch):
    monkeypatch.setattr("mmkgc.serving.api.gateway.upstream.FIRST_DELAY", 0)
    model = Away(engine_model, 3)
    found = post(model, QUERIES, per_call=100)
    codes = [line.get("error", {}).get("code") for line in found]
    assert len(codes) == len(QUERIES)
    assert codes == [None] * 200 + ["unavailable"] * 2800
    assert "model" in found[0]
    assert "model" not in found[-1]
    assert model.calls < 60  # and not one call, with its repetitions, for each hundred


def test_a_model_that_hangs_is_given_up(engine_model):
    found = post(Model(engine_model, 2), QUERIES[:20], per_call=10, timeout=0.2)
    assert [line.get("error", {}).get("code") for line in found] == [None] * 10 + ["out_of_time"] * 10


@pytest.fixture
def late(engine_model):
    return Model(engine_model, 2)


@pytest.fixture
def url(late, serve):
    limits = Limits(per_call=10, streams=2)
    with serve(create_app(late, [KEY], limits), limits) as url:
        yield url


def test_lines_come_before_the_last_answer_and_the_rest_is_dropped_with_the_client(url, late):
    with httpx.stream("POST", f"{url}/v1/complete", json={"queries": QUERIES}, headers=HEADERS, timeout=10) as answer:
        arriving = answer.iter_lines()
        assert all("predictions" in next(arriving) for _ in range(10))  # the model holds back all further calls
    with httpx.Client(base_url=url, headers={"authorization": HEADERS["authorization"]}, timeout=10) as client:
        deadline = time.monotonic() + 10
        while "mmkgc_gateway_waiting_queries 0.0" not in client.get("/metrics").text:
            assert time.monotonic() < deadline, "the queries of the client that went away still wait"
            late.held = False  # a call refreshes the gauge
            client.post("/v1/complete", json={"queries": QUERIES[:1]})
        assert late.calls < 20  # of 300 calls


def test_a_key_has_so_many_streams_at_a_time(url, late):
    def opened() -> httpx.Response:
        request = http.build_request("POST", "/v1/complete", json={"queries": QUERIES[:100]})
        return http.send(request, stream=True)

    with httpx.Client(base_url=url, headers=HEADERS, timeout=10) as http:
        streams = [opened(), opened()]
        refused = opened()
        assert refused.status_code == 429
        refused.close()
        late.go.set() if False else None
        for stream in streams:
            stream.close()
        deadline = time.monotonic() + 10
        while (again := opened()).status_code == 429:
            again.close()
            assert time.monotonic() < deadline, "closed streams still count"
        again.close()


@pytest.fixture
def gateway(engine_model, serve):
    with serve(create_app(engine_model, [KEY]), None) as url:
        yield url


def test_the_client_streams_any_number_of_queries(gateway, near, monkeypatch):
    monkeypatch.setattr("mmkgc.serving.api.client.STREAMED", 700)  # several requests
    asked = ({"head": "nobody", "relation": "r1"} if index == 5 else query for index, query in enumerate(QUERIES))
    with Client(gateway, KEY) as client:
        found = list(client.stream(asked))
        whole = [client.complete_all(some(start, start + 1000)) for start in range(0, 3000, 1000)]
    assert plain(found) == near(plain([answer for part in whole for answer in part]))
    assert isinstance(found[5], Failed)
    assert isinstance(found[6], Completion)

    async def streamed() -> list:
        async with AsyncClient(gateway, KEY) as client:
            return [answer async for answer in client.stream(some(0, 1000))]

    assert plain(asyncio.run(streamed())) == near(plain(found[:1000]))


def plain(answers: list) -> list[dict]:
    return [answer.model_dump(mode="json") for answer in answers]


def some(start: int, end: int) -> list[dict]:
    return [{"head": "nobody", "relation": "r1"} if index == 5 else QUERIES[index] for index in range(start, end)]
