"""Proposals over HTTP: listed, decided, kept."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from fastapi.testclient import TestClient

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.cost import LOOKUP
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.review.decisions import Decisions
from mmkgc.serving.review.proposals import ProposalPage, Proposals

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
        scores = [one.score for one in everything.proposals]
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
        assert page(client) == ProposalPage(model=None, total=0, relations=[], proposals=[])
        assert client.post("/v1/proposals/x", json={"decision": "accept"}).status_code == 404


def test_another_file_is_refused(tmp_path):
    (tmp_path / "note.txt").write_text("hello")
    for path in (tmp_path / "note.txt", tmp_path):
        with pytest.raises(UserError, match="this is no file of proposals"):
            Proposals(path)
