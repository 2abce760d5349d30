"""Proposals over HTTP: listed, decided, kept."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from fastapi.testclient import TestClient

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.cost import LOOKUP
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.review.decisions import Decisions
from mmkgc.serving.review.proposals import NOTHING, ProposalPage, Proposals

KEY, OTHER = "0123456789abcdef", "another-key-of-16"
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
def open_client(engine_model, proposals_file, tmp_path):
    """A gateway that reviews; each call is another start of it."""

    def opened(limits: Limits | None = None) -> TestClient:
        proposals = Proposals(proposals_file, Decisions(tmp_path / "decisions.jsonl"))
        return TestClient(create_app(engine_model, [KEY, OTHER], limits, proposals), headers=HEADERS)

    return opened


def page(client, **parameters) -> ProposalPage:
    return ProposalPage.model_validate(client.get("/v1/proposals", params=parameters).raise_for_status().json())


def test_proposals_come_best_first_in_pages_and_by_relation(open_client):
    with open_client() as client:
        everything = page(client, limit=200)
        assert everything.total == len(everything.proposals) > 10
        chances = [one.probability for one in everything.proposals]
        assert chances == sorted(chances, reverse=True)
        scores = [one.score for one in page(client, limit=200, sort="score").proposals]
        assert scores == sorted(scores, reverse=True)
        ids = [one.id for one in everything.proposals]
        assert [one.id for start in (0, 4, 8) for one in page(client, limit=4, offset=start).proposals] == ids[:12]
        mine = page(client, relation="r1", limit=200).proposals
        assert [one.id for one in mine] == [one.id for one in everything.proposals if one.relation.key == "r1"]
        assert sum(one.open for one in everything.relations) == everything.total
        first = everything.proposals[0]
        assert first.head.name.startswith(("Entity", "Twin"))
        assert sum(first.shares.values()) == pytest.approx(1, abs=1e-3)
        assert all(near.relation == first.relation for near in first.support)
        assert page(client, offset=10_000).proposals == []


def test_a_decision_moves_a_proposal_and_survives_a_restart(open_client):
    with open_client() as client:
        first, second, third = page(client, limit=3).proposals
        assert client.post(f"/v1/proposals/{first.id}", json={"decision": "accept"}).json() == {
            "id": first.id,
            "status": "accepted",
        }
        client.post(f"/v1/proposals/{second.id}", json={"decision": "reject"})
    with open_client() as client:
        assert page(client, limit=1).proposals[0].id == third.id
        assert [one.id for one in page(client, status="accepted").proposals] == [first.id]
        assert [one.id for one in page(client, status="rejected").proposals] == [second.id]
        assert [one.status for one in page(client, status="all", limit=3).proposals] == ["accepted", "rejected", "open"]
        client.post(f"/v1/proposals/{first.id}", json={"decision": "reopen"})
        assert page(client, limit=1).proposals[0].id == first.id
        assert sum(one.accepted for one in page(client).relations) == 0


def test_a_search_finds_by_name_and_probability_and_sorts(open_client):
    with open_client() as client:
        everything = page(client, limit=200).proposals
        bound = sorted(one.probability for one in everything)[len(everything) // 2]
        likely = page(client, limit=200, at_least=bound).proposals
        assert [one.id for one in likely] == [one.id for one in everything if one.probability >= bound]
        named = page(client, limit=200, q="tWiN").proposals
        assert (
            {one.id for one in named}
            == {one.id for one in everything if "Twin" in (one.head.name, one.tail.name)}
            != set()
        )
        by_head = [one.head.name.casefold() for one in page(client, limit=200, sort="head").proposals]
        assert by_head == sorted(by_head)
        assert page(client, q="\x00 no such name").total == 0
        assert page(client).missing == 0.05
        held_out = [one.held_out for one in page(client).relations]
        assert all(one.kept >= one.found >= 0 for one in held_out)


def test_many_are_decided_at_once_with_a_name_and_a_note(open_client, tmp_path):
    with open_client() as client:
        ids = [one.id for one in page(client, limit=5).proposals]
        body = {"ids": [*ids, "nothing"], "decision": "unsure", "by": " Ann ", "note": "ask the ministry"}
        assert client.post("/v1/proposals", json=body).json() == {"decided": 5, "status": "unsure"}
        found = page(client, status="unsure").proposals
        assert {one.id for one in found} == set(ids)
        assert {(one.by, one.note) for one in found} == {("Ann", "ask the ministry")}
        assert sum(one.unsure for one in page(client).relations) == 5
    assert {one["probability"] for one in Decisions(tmp_path / "decisions.jsonl").refresh().latest.values()} <= {
        one.probability for one in found
    }


def test_the_right_entity_is_stated_and_taken_back_with_the_rejection(open_client):
    with open_client() as client:
        first = page(client, limit=1).proposals[0]
        right = next(key for key in ("e3", "e5", "e9") if key not in (first.head.key, first.tail.key))
        body = {"decision": "reject", "instead": {"side": "tail", "entity": right}, "by": "Ann"}
        answer = client.post(f"/v1/proposals/{first.id}", json=body)
        assert answer.status_code == 200, answer.json()
        (stated,) = page(client).stated
        assert (stated.head, stated.relation, stated.tail.key, stated.by) == (first.head, first.relation, right, "Ann")
        (rejected,) = page(client, status="rejected").proposals
        assert rejected.instead.key == right
        assert right in client.get("/v1/proposals/export").text
        client.post(f"/v1/proposals/{first.id}", json={"decision": "reopen"})
        assert page(client).stated == []
        wrong = {"decision": "reject", "instead": {"side": "tail", "entity": "nobody"}}
        assert client.post(f"/v1/proposals/{first.id}", json=wrong).status_code == 404
        odd = {"decision": "accept", "instead": {"side": "tail", "entity": right}}
        assert client.post(f"/v1/proposals/{first.id}", json=odd).status_code == 422
        assert page(client, limit=1).proposals[0].status == "open"


def test_a_fact_of_a_reviewer_is_kept_exported_and_withdrawn(open_client, engine):
    known = next(iter(engine.bundle.known))
    keys, relations = engine.bundle.entities.keys, engine.bundle.relations.keys
    with open_client() as client:
        held = {"head": keys[known[0]], "relation": relations[known[1]], "tail": keys[known[2]]}
        refused = client.post("/v1/facts", json=held)
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "known_fact")
        tail = next(one for one in keys if not engine.bundle.known.contains(_ids(engine, held | {"tail": one})))
        made = client.post("/v1/facts", json=held | {"tail": tail, "by": "Ann", "note": "a source"}).json()
        assert made["status"] == "accepted"
        assert [one.id for one in page(client).stated] == [made["id"]]
        table = client.get("/v1/proposals/export", params={"format": "csv"})
        assert 'filename="accepted.csv"' in table.headers["content-disposition"]
        assert table.text.splitlines()[1].startswith(f"{held['head']},{held['relation']},{tail},")
        assert client.get("/v1/proposals/export", params={"format": "nquads"}).text.count("rdf-syntax-ns#subject") == 1
        assert client.delete(f"/v1/facts/{made['id']}").json()["status"] == "open"
        assert client.delete(f"/v1/facts/{made['id']}").status_code == 404
        assert page(client).stated == []
        assert client.get("/v1/proposals/export", params={"format": "cypher"}).text.count("MERGE") == 0


def _ids(engine, triple):
    entities, relations = engine.bundle.entities.ids, engine.bundle.relations.ids
    return torch.tensor([entities[triple["head"]], relations[triple["relation"]], entities[triple["tail"]]])


def test_an_entity_is_described_with_its_known_triples(open_client, engine):
    with open_client() as client:
        found = client.get("/v1/entity", params={"entity": "e3", "limit": 2}).json()
    three = engine.bundle.entities.ids["e3"]
    mine = [triple for triple in engine.bundle.known if three in (triple[0], triple[2])]
    assert (found["key"], found["type"], found["total"]) == ("e3", "town", len(mine))
    assert len(found["facts"]) == 2
    assert all("e3" in (fact["head"]["key"], fact["tail"]["key"]) for fact in found["facts"])


def test_two_reviewers_at_once_lose_nothing(open_client, tmp_path):
    with open_client() as client, open_client() as another:
        ids = [one.id for one in page(client, limit=200).proposals]

        def decide(place: int) -> int:
            asked, key = (client, KEY) if place % 2 else (another, OTHER)
            headers = {"authorization": f"Bearer {key}"}
            return asked.post(f"/v1/proposals/{ids[place]}", json={"decision": "accept"}, headers=headers).status_code

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(decide, range(len(ids)))) == {200}
        for one in (client, another):
            assert page(one).total == 0
            assert page(one, status="accepted").total == len(ids)
    decisions = Decisions(tmp_path / "decisions.jsonl").refresh().latest.values()
    assert {decision["reviewer"] for decision in decisions} == {0, 1}
    assert all(decision["bundle"] and decision["at"] for decision in decisions)


@pytest.mark.parametrize(
    ("parameters", "body", "status"),
    [
        ({"limit": 201}, None, 422),
        ({"limit": 0}, None, 422),
        ({"offset": -1}, None, 422),
        ({"status": "maybe"}, None, 422),
        ({"at_least": 1.5}, None, 422),
        ({"sort": "luck"}, None, 422),
        ({}, {"decision": "accept", "note": "x" * 2001}, 422),
        ({"relation": "x" * 501}, None, 422),
        ({}, {"decision": "maybe"}, 422),
        ({}, {"decision": "accept", "more": 1}, 422),
        ({}, {"decision": "accept"}, 404),
    ],
)
def test_what_makes_no_sense_is_refused(open_client, parameters, body, status):
    with open_client() as client:
        answer = client.get("/v1/proposals", params=parameters)
        if body is not None:
            answer = client.post("/v1/proposals/nothing", json=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_field_that_a_route_does_not_have_is_told_with_those_that_it_has(open_client):
    answer = open_client().post("/v1/facts", json={"head": "e1", "relation": "r1", "tail": "e2", "byy": "Ann"})
    assert answer.status_code == 422
    assert answer.json()["error"]["message"] == "body.byy: there is no such field — did you mean 'by'?"


def test_a_decision_that_cannot_be_written_is_told_in_json(open_client, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Decisions, "append", full)
    with open_client() as client:
        one = page(client, limit=1).proposals[0]
        answer = client.post(f"/v1/proposals/{one.id}", json={"decision": "accept"})
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "the decision could not be written: No space left on device"
        assert page(client, limit=1).proposals[0].id == one.id


def test_a_key_may_not_decide_without_end(open_client):
    with open_client(Limits(burst=3 * LOOKUP, queries_per_second=0.001)) as client:
        assert [client.get("/v1/proposals").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_without_proposals_there_are_none(engine_model):
    with TestClient(create_app(engine_model, [KEY]), headers=HEADERS) as client:
        assert page(client) == NOTHING
        assert client.post("/v1/proposals/x", json={"decision": "accept"}).status_code == 404


def test_another_file_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    for path in (tmp_path / "note.txt", tmp_path):
        with pytest.raises(UserError, match="this is no file of proposals"):
            Proposals(path)
