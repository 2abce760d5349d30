"""TorchServe's entry point in this process: whatever comes, every request of a batch gets an answer of its own."""

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from mmkgc.serving.api.protocol import Answer
from mmkgc.serving.torchserve import handler

ANSWERS = TypeAdapter(list[Answer])
WORDS = ["e1", "e2", "ENTITY 3", "Twin", "r1", "relation 2", "nobody", "", "\x00", "é" * 600, "\ud800", None, 7, [], {}]
VALUES = [*WORDS, {"text": "x"}, {"image": "x"}, ["e1", "e2"], "town", 3, -1, 10**30, 0.5, float("nan"), False]
PARTS = ["head", "relation", "tail", "k", "exclude_known", "candidates", "type", "explain", "zzz", "\udfff"]


class Context(SimpleNamespace):
    """What the handler asks of TorchServe's context."""

    def set_response_content_type(self, place: int, kind: str) -> None:
        assert kind == "application/json"

    def set_response_status(self, code: int, phrase: str, idx: int) -> None:
        self.statuses[idx] = code


@pytest.fixture
def context(monkeypatch, engine) -> Context:
    monkeypatch.setattr(handler, "_engine", engine)
    monkeypatch.setattr(handler, "_meter", SimpleNamespace(add=lambda report: None))
    return Context(statuses={})


def random_query(rng: random.Random) -> Any:
    if rng.random() < 0.05:
        return rng.choice(VALUES)
    odd = {part: rng.choice(VALUES) for part in rng.sample(PARTS, rng.randint(0, 3))}
    return odd | {part: rng.choice(WORDS[:6]) for part in rng.sample(PARTS[:3], rng.randint(1, 3))}


def random_body(rng: random.Random, queries: list[Any]) -> bytes:
    """A request in one of the protocols, now and then cut short."""
    tensor = {"name": "queries", "shape": [len(queries)], "datatype": "BYTES", "data": [json.dumps(q) for q in queries]}
    bodies: list[Any] = [{"queries": queries}, {"operation": "answer", "queries": queries}]
    bodies += [{"id": rng.choice(VALUES), "inputs": [tensor]}, {"queries": queries, "x": 1}, queries]
    text = json.dumps(rng.choice(bodies))
    return text[: rng.randrange(len(text))].encode() if rng.random() < 0.05 else text.encode()


def test_ten_thousand_mutated_queries_reach_the_handler_and_none_harms_another(context):
    rng = random.Random(0)
    good = json.dumps({"queries": [{"head": "e1", "relation": "r1"}]}).encode()
    (reply,) = handler.handle([{"body": good}], context)
    expected = [p["key"] for p in json.loads(reply)["answers"][0]["predictions"]]
    answered = 0
    for _ in range(250):
        asked = [[random_query(rng) for _ in range(8)] for _ in range(5)]
        rows = [{rng.choice(["body", "data"]): random_body(rng, queries)} for queries in asked]
        context.statuses = {}
        *replies, last = map(json.loads, handler.handle([*rows, {"body": good}], context))
        assert [p["key"] for p in last["answers"][0]["predictions"]] == expected
        for place, (queries, reply) in enumerate(zip(asked, replies, strict=True)):
            if context.statuses.get(place, 200) == 400:
                assert reply["error"]["message"]
                continue
            answers = reply["answers"] if "answers" in reply else [json.loads(t) for t in reply["outputs"][0]["data"]]
            assert len(ANSWERS.validate_python(answers)) == len(queries)
            answered += len(queries)
    assert answered > 5000


@pytest.mark.parametrize(
    "row",
    [{}, {"body": None}, {"data": b"\xff"}, {"other": b"{}"}, {"body": bytearray(b"[1]")}, {"body": {"inputs": 3}}],
)
def test_what_is_no_request_is_refused(context, row):
    (reply,) = handler.handle([row], context)
    assert json.loads(reply)["error"]["code"] == "invalid_request"
    assert context.statuses == {0: 400}
