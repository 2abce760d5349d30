"""The gateway's own behaviour, before an engine in this process; the contract test has TorchServe behind it."""

import asyncio
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from mmkgc.serving.api.cost import MAX_COST
from mmkgc.serving.api.gateway import routes
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.routes import schema
from mmkgc.serving.api.gateway.settings import Limits, Public
from mmkgc.serving.api.protocol import Answers, Entities, ModelInfo, Relations

KEY = "0123456789abcdef"
HEADERS = {"authorization": f"Bearer {KEY}"}
QUERY = {"head": "e1", "relation": "r1", "k": 3}
COMMITTED = Path(routes.__file__).with_name("openapi.json")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def app(engine_model):
    return create_app(engine_model, [KEY, "another-key-of-16"])


@pytest.fixture
def client(app) -> Iterator[TestClient]:
    with TestClient(app, headers=HEADERS) as client:
        yield client


def test_answers_are_the_engines(client, engine, near):
    queries = [QUERY, {"head": "nobody", "relation": "r1"}, {"head": "e1", "relation": "r1", "tail": "e3"}]
    answer = client.post("/v1/complete", json={"queries": queries}).json()
    assert answer["answers"] == near(engine.answer(queries))
    Answers.model_validate(answer)


def test_score_takes_triples_and_fails_them_alone(client, engine, near):
    triple = {"head": "e1", "relation": "r1", "tail": "e3"}
    answers = client.post("/v1/score", json={"triples": [{"head": "e1"}, triple, "x"]}).json()["answers"]
    assert [answer.get("error", {}).get("code") for answer in answers] == ["invalid_query", None, "invalid_query"]
    assert answers[1] == near(engine.answer([triple])[0])
    none_good = Answers.model_validate(client.post("/v1/score", json={"triples": ["x"]}).json())
    assert none_good.model.name == "mmkgc"


def test_lookups_have_the_documented_form(client):
    found = Entities.model_validate(client.get("/v1/entities", params={"q": "twin", "limit": 1}).json())
    assert [entity.key for entity in found.entities] == ["e7"]
    assert len(Relations.model_validate(client.get("/v1/relations").json()).relations) == 5
    assert Relations.model_validate(client.get("/v1/relations?entity=e1").json()).relations[0].as_head is not None
    assert ModelInfo.model_validate(client.get("/v1/model").json()).interaction == "rotate"
    assert client.get("/v1/relations?entity=nobody").status_code == 404
    assert client.get("/v1/picture?entity=e1").status_code == 204
    assert client.get("/v1/picture?entity=nobody").json()["error"]["code"] == "unknown_entity"


def test_no_route_answers_without_a_key(app):
    routes = [(path, method) for path, methods in schema(app)["paths"].items() for method in methods]
    with TestClient(app) as client:
        for path, method in [*routes, ("/openapi.json", "get")]:
            if path in ("/healthz", "/readyz"):
                assert client.request(method, path).json() == {"status": "ok"}
                continue
            for header in ("", "Bearer", "Bearer wrong", f"Basic {KEY}", f"Bearer {KEY}x", "Bearer \xff"):
                answer = client.request(method, path, headers={"authorization": header.encode("latin-1")}, json={})
                assert answer.status_code == 401, (path, header)
        assert client.get("/v1/model", headers={"authorization": "bearer another-key-of-16"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 422),
        (b"[]", 422),
        (b'{"queries": []}', 422),
        (b'{"queries": [], "x": 1}', 422),
        (json.dumps({"queries": [QUERY] * 1025}).encode(), 422),
        (b'{"queries": ["' + b"x" * 17_000_000 + b'"]}', 413),
    ],
)
def test_a_bad_body_is_refused(client, body, status):
    answer = client.post("/v1/complete", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_body_without_length_is_limited_too(engine_model):
    with TestClient(create_app(engine_model, [KEY], Limits(max_body=1000)), headers=HEADERS) as client:
        answer = client.post("/v1/complete", content=(b"x" * 100 for _ in range(100)))
    assert answer.status_code == 413


def test_a_key_that_asks_too_much_waits(engine_model):
    app = create_app(engine_model, [KEY, "another-key-of-16"], Limits(burst=10, queries_per_second=1))
    with TestClient(app, headers=HEADERS) as client:
        assert client.post("/v1/complete", json={"queries": [QUERY] * 10}).status_code == 200
        refused = client.post("/v1/complete", json={"queries": [QUERY] * 3})
        assert refused.status_code == 429
        assert 2 <= int(refused.headers["retry-after"]) <= 3
        assert client.get("/v1/model", headers={"authorization": "Bearer another-key-of-16"}).status_code == 200


class SlowModel:
    """Answers only when it is told to."""

    def __init__(self, model) -> None:
        self.model, self.go = model, asyncio.Event()

    async def ask(self, body):
        await self.go.wait()
        return await self.model.ask(body)

    async def close(self) -> None:
        pass


@pytest.mark.anyio
async def test_backpressure_refuses_what_cannot_wait(engine_model):
    slow = SlowModel(engine_model)
    app = create_app(slow, [KEY], Limits(max_waiting=4, workers=1, per_call=2))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=HEADERS) as client:
        posts = [asyncio.create_task(client.post("/v1/complete", json={"queries": [QUERY]})) for _ in range(8)]
        done, waiting = await asyncio.wait(posts, timeout=1)
        assert {task.result().status_code for task in done} == {429}
        assert all("retry-after" in task.result().headers for task in done)
        slow.go.set()
        answered = [(await task).status_code for task in waiting]
    assert answered == [200] * len(waiting)
    assert 4 <= len(waiting) <= 7  # four wait at the gateway, one is worked at, two fill a call that waits at the model


@pytest.mark.anyio
async def test_a_request_that_takes_too_long_is_given_up(engine_model):
    app = create_app(SlowModel(engine_model), [KEY], Limits(timeout=0.1))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers=HEADERS
    ) as client:
        answer = await client.post("/v1/complete", json={"queries": [QUERY]})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timeout")


class StrangeModel:
    """Answers every request with the same bytes."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = status, body

    async def ask(self, body):
        return self.answer

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b'{"model":{"name":"m","version":"1"},"answers":[]}', "one release"),
        (200, b"<html>\n</html>\n", "one release"),
        (404, b'{"code":404,"type":"ModelNotFoundException"}', "model server refused"),
        (413, b"too long", "model server refused"),
    ],
)
def test_a_model_that_answers_in_another_form_is_refused(status, body, message):
    with TestClient(create_app(StrangeModel(status, body), [KEY]), headers=HEADERS) as client:
        answer = client.post("/v1/complete", json={"queries": [QUERY]})
    assert answer.status_code == 503
    assert message in answer.json()["error"]["message"]


def test_log_lines_have_ids_and_no_payload(client, caplog):
    logging.getLogger("mmkgc.gateway").propagate = True
    with caplog.at_level(logging.INFO, "mmkgc.gateway"):
        answer = client.post("/v1/complete", json={"queries": [QUERY]}, headers={"x-request-id": "my-id.1"})
        forged = client.get("/v1/model", headers={"x-request-id": 'a" b'})
    assert answer.headers["x-request-id"] == "my-id.1"
    assert len(forged.headers["x-request-id"]) == 32
    fields = caplog.records[0].fields
    assert (fields["request_id"], fields["status"], fields["queries"]) == ("my-id.1", 200, 1)
    assert "Entity" not in str(caplog.records)
    assert KEY not in str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        (QUERY | {"k": 20, "explain": True}, 761),
        ({"head": {"text": "x" * 2000}, "relation": "r1"}, 125),
        ({"head": {"image": "AAAA"}, "relation": "r1"}, 15),
    ],
)
def test_a_request_that_costs_too_much_is_refused_before_any_work(query, fits):
    model = StrangeModel(200, b"")  # whose answer would be another refusal
    with TestClient(create_app(model, [KEY]), headers=HEADERS) as client:
        refused = client.post("/v1/complete", json={"queries": [query] * 1000})
        assert refused.status_code == 413
        message = refused.json()["error"]["message"]
        assert f"the limit of {MAX_COST}" in message
        assert f"send at most {fits} such queries at once" in message
        assert client.post("/v1/complete", json={"queries": [query] * fits}).status_code == 503


def test_a_key_pays_by_cost(engine_model):
    app = create_app(engine_model, [KEY], Limits(burst=20, queries_per_second=0.001))
    with TestClient(app, headers=HEADERS) as client:
        explained = {"queries": [QUERY | {"k": 10, "explain": True}]}
        assert [client.post("/v1/complete", json=explained).status_code for _ in range(2)] == [200, 429]


class BrokenModel(StrangeModel):
    """Fails as nobody foresaw."""

    async def ask(self, body):
        raise RuntimeError("unforeseen")


def test_an_unforeseen_failure_is_json_too(caplog):
    app = create_app(BrokenModel(200, b""), [KEY])
    logging.getLogger("mmkgc.gateway").propagate = True
    with TestClient(app, headers=HEADERS) as client:
        answer = client.get("/v1/model", headers={"x-request-id": "id-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] == "id-1"
    assert "unforeseen" in caplog.text


def test_readiness_is_asked_once_a_second_however_many_ask(engine_model, monkeypatch):
    model = CountingModel(engine_model)
    monkeypatch.setattr("mmkgc.serving.api.gateway.gateway.READY_SECONDS", 600)  # however slow this machine is
    with TestClient(create_app(model, [KEY])) as client:
        assert {client.get("/readyz").status_code for _ in range(50)} == {200}
        assert model.asked == 1
        monkeypatch.setattr("mmkgc.serving.api.gateway.gateway.READY_SECONDS", 0)
        client.app.state.gateway.readiness._until = 0
        client.get("/readyz")
        assert model.asked == 2


def test_readiness_tells_that_the_model_is_away_without_waiting():
    model = CountingModel(StrangeModel(503, b""))
    with TestClient(create_app(model, [KEY])) as client:
        assert {client.get("/readyz").status_code for _ in range(5)} == {503}
    assert model.asked == 1


class CountingModel:
    """Counts what it is asked."""

    def __init__(self, model) -> None:
        self.model, self.asked = model, 0

    async def ask(self, body):
        self.asked += 1
        return await self.model.ask(body)

    async def close(self) -> None:
        pass


def test_the_page_may_load_and_send_to_nobody_else(client):
    policy = client.get("/").headers["content-security-policy"]
    assert all(part in policy for part in ("default-src 'self'", "base-uri 'none'", "form-action 'none'"))


def test_metrics_count_what_happened(client):
    client.post("/v1/complete", json={"queries": [QUERY, {"head": "nobody", "relation": "r1"}]})
    text = client.get("/metrics").text
    assert 'mmkgc_gateway_queries_total{direction="tail",status="ok"} 1.0' in text
    assert 'mmkgc_gateway_queries_total{direction="unknown",status="unknown_entity"} 1.0' in text
    assert 'mmkgc_gateway_requests_total{route="/v1/complete",status="200"} 1.0' in text
    assert 'mmkgc_gateway_model{name="mmkgc",version="test"} 1.0' in text


def test_the_committed_description_is_current(app):
    assert json.loads(COMMITTED.read_text()) == schema(app), "run `python -m mmkgc.serving.api.gateway.openapi`"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"queries": []}', "body.queries: must hold at least 1"),
        ('{"query": [1]}', "body.query: there is no such field — did you mean 'queries'?"),
        ('{"queries": [', "body after 13 characters: is not valid JSON"),
        ("", "body: is missing"),
    ],
)
def test_a_refusal_speaks_of_the_request(client, body, words):
    answer = client.post("/v1/complete", content=body, headers={"content-type": "application/json"})
    assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/v1/entities?Limit=3", "query.Limit: there is no such parameter — did you mean 'limit'?"),
        ("/v1/entities?text=e1", "query.text: there is no such parameter — choose one of: limit, q, type"),
        ("/v1/model?version=2", "query.version: there is no such parameter — this address takes none"),
    ],
)
def test_an_unknown_parameter_is_not_ignored(client, address, words):
    answer = client.get(address)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"k": 0}, "k: must be at least 1"),
        ({"K": 3}, "K: there is no such field — did you mean 'k'?"),
        ({"head": {"txt": "a town"}}, "head.txt: there is no such field — did you mean 'text'?"),
        ({"head": 7}, "head: must be a text"),
        ({"explain": "perhaps"}, "explain: must be true or false"),
    ],
)
def test_a_failed_query_is_told_in_the_words_of_the_api(client, query, words):
    (answer,) = client.post("/v1/complete", json={"queries": [QUERY | query]}).json()["answers"]
    assert answer["error"]["message"] == words


def test_pages_of_named_sites_may_call_the_api(engine_model):
    site, preflight = "https://app.example.org", {"access-control-request-method": "POST"}
    app = create_app(engine_model, [KEY], public=Public(origins=f"{site}, https://other.example.org"))
    with TestClient(app) as client:
        allowed = client.options("/v1/complete", headers={"origin": site, **preflight})
        assert allowed.headers["access-control-allow-origin"] == site
        refused = client.post("/v1/complete", json={}, headers={"origin": site})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, site)
        answer = client.get("/v1/model", headers=HEADERS | {"origin": "https://evil.example.org"})
        assert "access-control-allow-origin" not in answer.headers
    with TestClient(create_app(engine_model, [KEY])) as client:
        assert "access-control-allow-origin" not in client.get("/healthz", headers={"origin": site}).headers


def test_the_description_may_be_open_to_all(engine_model):
    with TestClient(create_app(engine_model, [KEY], public=Public(description=True))) as client:
        assert "/v1/complete" in client.get("/openapi.json").json()["paths"]
        assert client.get("/v1/model").status_code == 401
        assert client.get("/docs/").status_code == 200
