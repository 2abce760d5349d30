"""Whatever is sent: no crash, no 5xx, every answer of the documented form."""

import random

import pytest
import schemathesis
from pydantic import TypeAdapter
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.routes import schema as describe
from mmkgc.serving.api.protocol import Answer

KEY = "0123456789abcdef"


@pytest.mark.slow
def test_the_description_holds_for_whatever_is_sent(engine_model):
    app = create_app(engine_model, [KEY])
    described = schemathesis.openapi.from_dict(describe(app))
    described.app = app
    tried = 0
    for operation in described.get_all_operations():
        strategy = operation.ok().as_strategy()
        for case in examples(strategy, 40):
            response = case.call(headers={"authorization": f"Bearer {KEY}"})
            case.validate_response(
                response, checks=[not_a_server_error, content_type_conformance, response_schema_conformance]
            )
            tried += 1
    assert tried > 200  # an operation without parameters has one case


def examples(strategy, count: int) -> list:
    """That many values of a strategy."""
    from hypothesis import HealthCheck, given, settings

    found: list = []

    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value) -> None:
        found.append(value)

    collect()
    return found


def test_ten_thousand_mutated_queries_get_well_formed_answers(engine):
    rng = random.Random(0)
    words = ["e1", "e2", "ENTITY 3", "Twin", "r1", "relation 2", "", "nobody", "\x00", "é" * 600, None, 7, [], {}, True]
    parts = ["head", "relation", "tail", "k", "exclude_known", "exclude_self", "candidates", "type", "explain", "zzz"]
    values = [*words, {"text": "x"}, {"image": "x"}, ["e1", "e2"], "town", 3, -1, 10**9, 0.5, False]
    adapter = TypeAdapter(list[Answer])
    for _ in range(100):
        batch = [
            {part: rng.choice(values) for part in rng.sample(parts, rng.randint(0, 4))}
            | {part: rng.choice(words[:6]) for part in rng.sample(parts[:3], 2)}
            for _ in range(100)
        ]
        answers = engine.answer(batch)
        assert len(adapter.validate_python(answers)) == 100
