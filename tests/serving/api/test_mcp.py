"""The tools of the MCP server, called by the SDK's own client: in this process, over stdio, and over HTTP."""

import os
import sys

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from mmkgc.serving.api.mcp_server import http_app, server

KEY = "k" * 32


@pytest.fixture(scope="module")
def tools(engine):
    return server(engine)


def call(target, tool, **arguments):
    """The structured result of one call, or the text of its error."""

    async def called():
        async with Client(target) as client:
            result = await client.call_tool(tool, arguments)
            return (result.is_error, result.content[0].text if result.is_error else result.structured_content)

    return anyio.run(called)


def test_an_agent_sees_every_tool_with_its_arguments_described(tools):
    async def listed():
        async with Client(tools) as client:
            return (await client.list_tools()).tools

    found = {tool.name: tool for tool in anyio.run(listed)}
    assert set(found) == {"complete", "score", "explain", "search_entities", "relations", "propose"}
    assert found["complete"].description.startswith("Predict the missing part of a triple")
    assert "leave it out to ask" in found["complete"].input_schema["properties"]["head"]["description"]
    assert all(tool.annotations.read_only_hint for tool in found.values())


def test_tools_answer_as_the_engine_does(tools, engine):
    (expected,) = engine.answer([{"head": "e1", "relation": "r1", "k": 3}])
    assert call(tools, "complete", head="e1", relation="r1", k=3) == (False, expected)
    (scored,) = engine.answer([{"head": "e1", "relation": "r1", "tail": "e2"}])
    assert call(tools, "score", head="e1", relation="r1", tail="e2") == (False, scored)
    failed, why = call(tools, "explain", head="e1", relation="r1")
    assert not failed
    assert why["tail"]["key"] == expected["predictions"][0]["key"]
    assert call(tools, "search_entities", text="entity 1", limit=1)[1]["entities"][0]["key"] == "e1"
    assert {row["key"] for row in call(tools, "relations")[1]["relations"]} == {f"r{index}" for index in range(5)}


def test_proposals_are_no_facts_of_the_graph(tools, engine):
    failed, found = call(tools, "propose", entity="e1", limit=5)
    assert not failed
    chances = [triple["probability"] for triple in found["proposals"]]
    assert len(chances) == 5
    assert chances == sorted(chances, reverse=True)
    for triple in found["proposals"]:
        (scored,) = engine.answer([{part: triple[part]["key"] for part in ("head", "relation", "tail")}])
        assert not scored["known"]


def test_errors_tell_an_agent_what_to_do(tools):
    failed, said = call(tools, "complete", head="Entity 11 ", relation="Relation 99")
    assert failed
    assert "did you mean" in said
    failed, said = call(tools, "complete", head="e1")
    assert failed
    assert "give two of head, relation and tail" in said
    failed, said = call(tools, "propose", entity="nobody")
    assert (failed, "there is no entity 'nobody'" in said) == (True, True), said


def test_an_agent_starts_it_over_stdio(bundle_folder):
    code = "from mmkgc.pipeline.cli import main; main()"
    environment = dict(os.environ) | {"OMP_NUM_THREADS": "1"}
    command = StdioServerParameters(
        command=sys.executable, args=["-c", code, "mcp", "--bundle", str(bundle_folder)], env=environment
    )
    failed, answer = call(command, "complete", head="e1", relation="r1", k=1)
    assert (failed, answer["direction"]) == (False, "tail")


def test_http_requires_a_key_of_the_gateway(tools, serve):
    with serve(_with_health(http_app(tools, [KEY], 1000, 1000))) as url:
        assert httpx2.post(f"{url}/mcp", json={}).status_code == 401

        async def called():
            async with (
                httpx2.AsyncClient(headers={"authorization": f"Bearer {KEY}"}) as http,
                Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
            ):
                return (await client.call_tool("relations", {})).structured_content

        assert len(anyio.run(called)["relations"]) == 5


def _with_health(app):
    """The application with the page that the fixture waits for."""

    async def wrapped(scope, receive, send):
        if scope["type"] == "http" and scope["path"] == "/healthz":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return wrapped
