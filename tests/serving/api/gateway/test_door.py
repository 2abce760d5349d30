"""What the gateway does before it reads a request."""

import asyncio
import json
import time

import httpx
import pytest

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.settings import Limits

KEY = "0123456789abcdef"
HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


def post(app, headers, parts, limits_read=None) -> httpx.Response:
    """The answer to a body that comes in ``parts``."""

    async def content():
        for part in parts:
            yield part

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway") as client:
            return await client.post("/v1/complete", content=content(), headers=headers)

    return asyncio.run(sent())


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/v1/complete", "/v1/proposals/x", "/", "/healthz", "/nowhere"])
def test_without_a_key_no_body_is_read(engine_model, method, path):
    app = create_app(engine_model, [KEY])
    sent = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "state": {},
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 401
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize("body", [b"[" + b"[]," * 5_000_000 + b"[]]", b'{"a":' * 300_000, b"{" + b'"":1,' * 1_000_000])
def test_a_body_of_too_many_values_is_not_parsed(engine_model, body):
    """Such a body kept the gateway busy for four seconds."""
    app = create_app(engine_model, [KEY])
    begun = time.process_time()
    answer = post(app, HEADERS, [body])
    assert answer.status_code == 413
    assert "values; send fewer" in answer.json()["error"]["message"]
    assert time.process_time() - begun < 2


def test_a_body_that_comes_too_slowly_is_given_up(engine_model):
    app = create_app(engine_model, [KEY], Limits(body_seconds=0.1))

    async def sent():
        messages = []

        async def receive():
            await asyncio.sleep(0.03)
            return {"type": "http.request", "body": b" ", "more_body": True}

        async def send(message):
            messages.append(message)

        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/complete",
            "raw_path": b"",
            "query_string": b"",
            "headers": headers,
            "state": {},
        }
        await app(scope, receive, send)
        return messages

    start, body = asyncio.run(sent())[:2]
    assert start["status"] == 408
    assert json.loads(body["body"])["error"]["code"] == "too_slow"


def test_a_body_in_pieces_arrives_whole(engine_model):
    body = json.dumps({"queries": [{"head": "e1", "relation": "r1", "k": 3}]}).encode()
    answer = post(create_app(engine_model, [KEY]), HEADERS, [body[:5], b"", body[5:]])
    assert len(answer.json()["answers"][0]["predictions"]) == 3
