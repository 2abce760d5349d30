"""The engine against a brute-force reading of the model's own scores."""

import json
from base64 import b64encode

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmkgc.components.kge.evaluation.calibration import probability
from mmkgc.components.kge.kernels import comparison
from mmkgc.components.kge.kernels.loops import comparison as loops
from mmkgc.serving.api.protocol import MAX_K, Answer, ErrorCode
from mmkgc.serving.engine import explain
from mmkgc.serving.engine.engine import Engine

ANSWER = TypeAdapter(Answer)


def brute(engine, direction: str, head: int, relation: int, tail: int) -> torch.Tensor:
    """Scores of every completion, triple by triple."""
    count = len(engine.bundle.relations if direction == "relation" else engine.bundle.entities)
    triples = torch.tensor([[head, relation, tail]]).repeat(count, 1)
    triples[:, ("head", "relation", "tail").index(direction)] = torch.arange(count)
    with torch.no_grad():
        return engine.bundle.model.score_triples(triples)


def expected_ids(engine, scores: torch.Tensor, known: set[int], k: int) -> list[int]:
    return [i for i in torch.argsort(-scores, stable=True).tolist() if i not in known][:k]


@pytest.mark.parametrize("direction", ["head", "relation", "tail"])
@pytest.mark.parametrize("exclude_known", [True, False])
def test_completions_equal_brute_force(engine, direction, exclude_known):
    head, relation, tail = engine.bundle.train[3].tolist()
    parts = {"head": f"e{head}", "relation": f"r{relation}", "tail": f"e{tail}"}
    query = {**parts, direction: None, "k": 5, "exclude_known": exclude_known, "exclude_self": False}
    (answer,) = engine.answer([query])
    position = ("head", "relation", "tail").index(direction)
    given = [x for i, x in enumerate((head, relation, tail)) if i != position]
    facts = {t[position] for t in engine.bundle.known if [x for i, x in enumerate(t) if i != position] == given}
    assert facts, "the query must have known answers, or the filter is not tested"
    scores = brute(engine, direction, head, relation, tail)
    expected = expected_ids(engine, scores, facts if exclude_known else set(), 5)
    prefix = "r" if direction == "relation" else "e"
    assert [p["key"] for p in answer["predictions"]] == [f"{prefix}{i}" for i in expected]
    assert [p["score"] for p in answer["predictions"]] == pytest.approx(scores[expected].tolist(), abs=1e-5)
    assert [p["known"] for p in answer["predictions"]] == [i in facts for i in expected]
    calibrated = probability(engine.bundle.calibration, scores[expected], torch.tensor(expected)).tolist()
    shown = [None if i in facts else chance for i, chance in zip(expected, calibrated, strict=True)]
    assert [p["probability"] for p in answer["predictions"]] == [c and pytest.approx(c, abs=1e-5) for c in shown]


def test_a_known_answer_has_no_probability_and_changes_none_of_the_others(engine):
    head, relation, _ = engine.bundle.train[3].tolist()
    query = {"head": f"e{head}", "relation": f"r{relation}", "k": 40}
    (alone,) = engine.answer([query])
    (marked,) = engine.answer([query | {"exclude_known": False}])
    assert {p["probability"] for p in marked["predictions"] if p["known"]} == {None}
    chances = {p["key"]: p["probability"] for p in marked["predictions"] if not p["known"]}
    assert chances.items() <= {p["key"]: p["probability"] for p in alone["predictions"]}.items()
    assert all(chances.values())


def test_a_triple_is_scored(engine):
    head, relation, tail = engine.bundle.train[0].tolist()
    (answer,) = engine.answer([{"head": f"e{head}", "relation": f"r{relation}", "tail": f"e{tail}"}])
    score = engine.bundle.model.score_triples(engine.bundle.train[:1]).item()
    assert answer["direction"] == "triple"
    assert (answer["known"], answer["probability"]) == (True, None)
    assert answer["score"] == pytest.approx(score, abs=1e-5)


def test_a_batch_answers_like_its_queries_alone(engine, near):
    queries = [
        {"head": "e1", "relation": "r1", "k": 3},
        {"relation": "r2", "tail": "e5", "k": 7, "exclude_known": False},
        *({"head": f"e{index}", "tail": "e2"} for index in (1, 3, 4, 5)),
        {"head": "nobody", "relation": "r1"},
        {"head": "e1", "relation": "r3", "tail": "e4", "explain": True},
        {"head": "e9", "relation": "r1", "k": 40},
    ]
    assert engine.answer(queries) == near([engine.answer([query])[0] for query in queries])


def test_an_entity_answers_itself_only_where_the_graph_has_loops(engine):
    loops = {triple[1] for triple in engine.bundle.known if triple[0] == triple[2]}
    assert 0 < len(loops) < 5, "the test needs relations with and without loops"
    for relation in range(5):
        query = {"head": "e1", "relation": f"r{relation}", "k": 40, "exclude_known": False}
        default, everyone = engine.answer([query, {**query, "exclude_self": False}])
        assert ("e1" in {p["key"] for p in default["predictions"]}) == (relation in loops)
        assert "e1" in {p["key"] for p in everyone["predictions"]}


def test_no_type_is_no_choice(make_bundle):
    bundle = make_bundle()
    bundle.types = tuple("" if index else "town" for index in range(len(bundle.entities)))
    catalog = Engine(bundle).catalog
    assert catalog.model()["types"] == ["town"]
    assert [catalog.search(f"e{index}", 1)["entities"][0]["type"] for index in range(2)] == ["town", None]


def test_candidates_and_types_restrict(engine):
    candidates = ["e3", "Entity 5", "e11", "e3"]
    by_list, by_type, by_both = engine.answer(
        [
            {"head": "e1", "relation": "r1", "candidates": candidates, "exclude_known": False},
            {"head": "e1", "relation": "r1", "type": "town", "k": 1000},
            {"head": "e1", "relation": "r1", "type": "river", "candidates": ["e2", "e3"], "exclude_known": False},
        ]
    )
    assert {p["key"] for p in by_list["predictions"]} == {"e3", "e5", "e11"}
    assert all(int(p["key"][1:]) % 2 for p in by_type["predictions"])
    assert [p["key"] for p in by_both["predictions"]] == ["e2"]


@pytest.mark.parametrize(
    ("query", "code", "needle"),
    [
        ({"head": "e1", "relation": "no such"}, ErrorCode.UNKNOWN_RELATION, "no such"),
        ({"head": "Twin", "relation": "r1"}, ErrorCode.AMBIGUOUS_ENTITY, "ambiguous"),
        ({"head": "e1", "relation": "r1", "k": 0}, ErrorCode.INVALID_QUERY, "k:"),
        ({"head": "e1", "relation": "r1", "k": MAX_K + 1}, ErrorCode.INVALID_QUERY, "k:"),
        ({"head": "e1", "relation": "r1", "K": 3}, ErrorCode.INVALID_QUERY, "K:"),
        ({"head": "e1"}, ErrorCode.INVALID_QUERY, "two of head, relation and tail"),
        ("text", ErrorCode.INVALID_QUERY, ""),
        (None, ErrorCode.INVALID_QUERY, ""),
        ({"head": "e1", "relation": "r1", "type": "lake"}, ErrorCode.UNKNOWN_TYPE, "river, town"),
        ({"head": "e1", "tail": "e2", "type": "town"}, ErrorCode.UNSUPPORTED, "restrict"),
        ({"head": {}, "relation": "r1"}, ErrorCode.INVALID_QUERY, "text, image"),
        ({"head": {"text": "a town"}, "relation": "r1", "tail": {"text": "x"}}, ErrorCode.UNSUPPORTED, "at most one"),
        ({"head": {"image": b64encode(b"no").decode()}, "relation": "r1"}, ErrorCode.BAD_IMAGE, "decode"),
        ({"head": {"text": "a town"}, "relation": "r1"}, ErrorCode.NO_MODALITY, "no textual encoder"),
    ],
)
def test_a_bad_query_fails_alone(engine, query, code, needle):
    bad, good = engine.answer([query, {"head": "e1", "relation": "r1"}])
    assert bad["error"]["code"] == code
    assert needle in bad["error"]["message"]
    assert len(good["predictions"]) == 10


def test_explanations_are_shares_that_sum_to_one_and_real_triples(engine):
    (answer,) = engine.answer([{"head": "e1", "relation": "r1", "k": 3, "explain": True}])
    facts = {tuple(t) for t in engine.bundle.train.tolist()}
    for prediction in answer["predictions"]:
        assert sum(prediction["shares"].values()) == pytest.approx(1, abs=1e-4)
        assert len(prediction["support"]) == 3
        for triple in prediction["support"]:
            head, relation, tail = (int(triple[part]["key"][1:]) for part in ("head", "relation", "tail"))
            assert relation == 1
            assert (head, relation, tail) in facts


def test_ties_keep_the_graphs_order(make_bundle):
    flat = make_bundle(interaction="distmult", fusion="structure")
    torch.nn.init.zeros_(flat.model.entities.structure)
    (answer,) = Engine(flat).answer(
        [{"head": "e1", "relation": "r1", "k": 6, "exclude_known": False, "exclude_self": False}]
    )
    assert [p["key"] for p in answer["predictions"]] == [f"e{i}" for i in range(6)]


@pytest.mark.slow
def test_after_warming_up_no_user_waits_for_compilation(make_bundle, monkeypatch):
    monkeypatch.setattr(comparison, "SMALL", 1)  # or the kernels would be for larger graphs than this
    loops.grid.cache_clear()
    loops.grid_of_many.cache_clear()
    engine = Engine(make_bundle(interaction="rotate", fusion="structure"))
    engine.warm_up()
    modulus = comparison.KINDS.index("modulus")
    kernels = [loops.grid(modulus).score, loops.grid_of_many(modulus)]
    compiled = [len(kernel.signatures) for kernel in kernels]
    assert all(compiled)
    for times in (1, 40):
        engine.answer([{"head": "e1", "relation": "r1"}, {"relation": "r1", "tail": "e1"}] * times)
    assert [len(kernel.signatures) for kernel in kernels] == compiled


def test_after_warming_up_no_user_waits_for_the_comparison_of_triples(make_bundle, monkeypatch):
    monkeypatch.setattr(explain, "FEW", 1)  # or relations of this small graph would be compared in full
    engine = Engine(make_bundle(interaction="rotate", fusion="sum"))
    engine.warm_up()
    assert "sketches" in vars(engine.writer.evidence)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["e1", "e2", "r1", "r2", "Twin", "town"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=6,
)
queries = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("head", "relation", "tail", "k", "exclude_known", "candidates", "type", "x"), anything),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(batch=st.lists(queries | anything, max_size=8))
def test_any_json_gets_a_well_formed_answer(engine, batch):
    answers = engine.answer(batch)
    assert len(answers) == len(batch)
    for answer in json.loads(json.dumps(answers, allow_nan=False)):
        ANSWER.validate_python(answer)


def test_candidates_are_never_left_out_unless_that_is_asked_for(engine):
    head, relation, tail = engine.bundle.train[3].tolist()
    query = {"head": f"e{head}", "relation": f"r{relation}", "candidates": [f"e{tail}", f"e{head}", "e20"]}
    (answer,) = engine.answer([query])
    assert {one["key"]: one["known"] for one in answer["predictions"]} == {
        f"e{tail}": True,
        f"e{head}": False,
        "e20": False,
    }
    hidden, shown = engine.answer(
        [query | {"exclude_known": True, "exclude_self": True}, query | {"exclude_self": True}]
    )
    assert [one["key"] for one in hidden["predictions"]] == ["e20"]
    assert {one["key"] for one in shown["predictions"]} == {f"e{tail}", "e20"}


def test_what_is_not_begun_in_time_fails_and_the_rest_is_answered(engine, monkeypatch):
    clock = iter([0.0, 0.0, 100.0])
    monkeypatch.setattr("mmkgc.serving.engine.engine.time.monotonic", lambda: next(clock))
    plain, relation = {"head": "e1", "relation": "r1"}, {"head": "e1", "tail": "e2"}
    first, second = engine.answer([plain, relation], within=30)
    assert first["predictions"]
    assert second["error"]["code"] == "out_of_time"


def test_costly_queries_are_worked_on_in_small_pieces(engine):
    explained = {"head": "e1", "relation": "r1", "k": 100, "explain": True}
    resolved = [engine.resolver.resolve(place, explained) for place in range(10)]
    assert [sum(map(len, piece.values())) for piece in engine.scorer.pieces(resolved)] == [2] * 5


def test_only_the_first_unknown_names_of_a_batch_are_compared_with_every_name(engine):
    answers = engine.answer([{"head": f"nobody {number}", "relation": "r1"} for number in range(100)])
    suggested = [bool(answer["error"]["nearest"]) for answer in answers]
    assert suggested == [True] * 16 + [False] * 84
    assert {answer["error"]["code"] for answer in answers} == {"unknown_entity"}
