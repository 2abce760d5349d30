"""Routes for reviewing proposals."""

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi import Path as PathPart
from fastapi import Query as Parameter
from fastapi.responses import StreamingResponse
from pydantic import Field

from mmkgc.serving.api.cost import LOOKUP
from mmkgc.serving.api.gateway.gateway import Gateway
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.routes import Json, answers
from mmkgc.serving.api.protocol import Label, Strict, Triple
from mmkgc.serving.review.decisions import Status
from mmkgc.serving.review.formats import FORMATS
from mmkgc.serving.review.formats.fact import accepted
from mmkgc.serving.review.proposals import NOTHING, PARTS, ProposalPage, Proposals, Sort, Wanted

DECISIONS = {
    "accept": Status.ACCEPTED,
    "reject": Status.REJECTED,
    "unsure": Status.UNSURE,
    "reopen": Status.OPEN,
}
MOST = 200  # proposals that are listed or decided at once
Id = Annotated[str, PathPart(max_length=100)]


class Remark(Strict):
    """Who decides, and why."""

    by: Annotated[str, Field(max_length=200, description="the reviewer's name")] | None = None
    note: Annotated[str, Field(max_length=2000, description="a reason, a source")] | None = None

    @property
    def told(self) -> dict[str, Any]:
        """The fields that are filled."""
        return {name: text for name in ("by", "note") if (text := (getattr(self, name) or "").strip())}


class Instead(Strict):
    """The entity that is right in the place of a proposal's head or tail, by key or by name."""

    side: Literal["head", "tail"]
    entity: Label


class DecisionRequest(Remark):
    """What a reviewer decides; ``reopen`` takes a decision back; ``instead`` comes with ``reject``."""

    decision: Literal["accept", "reject", "unsure", "reopen"]
    instead: Instead | None = None


class DecisionsRequest(Remark):
    """One decision on several proposals."""

    ids: Annotated[list[Annotated[str, Field(max_length=100)]], Field(min_length=1, max_length=MOST)]
    decision: Literal["accept", "reject", "unsure", "reopen"]


class FactRequest(Remark):
    """A fact that a reviewer states; entities and the relation are given by key or by name."""

    head: Label
    relation: Label
    tail: Label


class Decided(Strict):
    """The proposal's new status."""

    id: str
    status: Status


class DecidedMany(Strict):
    """How many proposals have the new status."""

    decided: int
    status: Status


def add_review(app: FastAPI, gateway: Gateway, secured: dict[str, Any], proposals: Proposals | None) -> None:
    """Add the routes of proposals and decisions; without a file of proposals the list is empty."""
    _add_list(app, gateway, secured, proposals)
    _add_decisions(app, gateway, secured, proposals)
    _add_facts(app, gateway, secured, proposals)


def _add_list(app: FastAPI, gateway: Gateway, secured: dict[str, Any], proposals: Proposals | None) -> None:
    @app.get("/v1/proposals", response_model=None, **answers(secured, ProposalPage))
    async def listed(
        request: Request,
        relation: Annotated[str | None, Parameter(max_length=500, description="key of a relation")] = None,
        status: Annotated[Literal["open", "accepted", "rejected", "unsure", "all"], Parameter()] = "open",
        q: Annotated[str, Parameter(max_length=200, description="a piece of a name or key")] = "",
        at_least: Annotated[float, Parameter(ge=0, le=1, description="least probability")] = 0,
        sort: Annotated[
            Sort, Parameter(description="most probable first, best score first, or by name")
        ] = "probability",
        limit: Annotated[int, Parameter(ge=1, le=MOST)] = 50,
        offset: Annotated[int, Parameter(ge=0, le=10_000_000)] = 0,
    ) -> Json:
        """Proposed triples, and how many of each relation are decided."""
        gateway.access.spend(request.state.key, LOOKUP)
        wanted = Wanted(relation, None if status == "all" else Status(status), q, at_least, sort)
        page = await asyncio.to_thread(proposals.page, wanted, limit, offset) if proposals else NOTHING
        return Json(page)

    @app.get("/v1/proposals/export", response_class=StreamingResponse, **secured)
    async def export(
        request: Request,
        format: Annotated[Literal["csv", "nquads", "cypher"], Parameter()] = "csv",
    ) -> StreamingResponse:
        """The accepted facts with their provenance, as a file."""
        gateway.access.spend(request.state.key, LOOKUP)
        facts = await asyncio.to_thread(accepted, proposals.decisions) if proposals else []
        chosen = FORMATS[format]
        headers = {"content-disposition": f'attachment; filename="accepted.{chosen.ending}"'}
        return StreamingResponse(chosen.write(facts), media_type=f"{chosen.media_type}; charset=utf-8", headers=headers)


def _add_decisions(app: FastAPI, gateway: Gateway, secured: dict[str, Any], proposals: Proposals | None) -> None:
    @app.post("/v1/proposals", response_model=None, **answers(secured, DecidedMany))
    async def decide_many(body: DecisionsRequest, request: Request) -> Json:
        """Decide several proposals alike; the answer comes when the decisions are on the disk."""
        gateway.access.spend(request.state.key, len(body.ids))
        status = DECISIONS[body.decision]
        found = 0
        if proposals:
            found = await _kept(lambda: proposals.decide(body.ids, status, request.state.key, body.told))
        return Json(DecidedMany(decided=found, status=status))

    @app.post("/v1/proposals/{id}", response_model=None, **answers(secured, Decided, 404))
    async def decide(body: DecisionRequest, request: Request, id: Id) -> Json:
        """Accept or reject a proposal, or take that back; the answer comes when the decision is on the disk."""
        gateway.access.spend(request.state.key, 1)
        status, told = DECISIONS[body.decision], body.told
        proposed = proposals.of(id) if proposals else None
        if proposals is None or proposed is None:
            raise Refusal(404, "unknown_proposal", "there is no proposal of this id")
        if body.instead:
            if status is not Status.REJECTED:
                raise Refusal(422, "invalid_request", "instead: it comes with the decision 'reject' alone")
            given = dict(zip(PARTS, proposed, strict=True)) | {body.instead.side: body.instead.entity}
            triple, about = await _checked(gateway, request, given)
            await _kept(lambda: proposals.state(triple, request.state.key, about | told))
            right = {"key": triple[PARTS.index(body.instead.side)], "name": about["names"][body.instead.side]}
            told |= {"instead": right, "instead_triple": triple}
        await _kept(lambda: proposals.decide([id], status, request.state.key, told))
        return Json(Decided(id=id, status=status))


def _add_facts(app: FastAPI, gateway: Gateway, secured: dict[str, Any], proposals: Proposals | None) -> None:
    @app.post("/v1/facts", response_model=None, **answers(secured, Decided, 404, 409))
    async def state(body: FactRequest, request: Request) -> Json:
        """State a fact that the graph lacks; it counts as accepted."""
        if proposals is None:
            raise Refusal(404, "no_proposals", "this server reviews no proposals, so that facts have no place")
        triple, about = await _checked(gateway, request, {part: getattr(body, part) for part in PARTS})
        identifier = await _kept(lambda: proposals.state(triple, request.state.key, about | body.told))
        return Json(Decided(id=identifier, status=Status.ACCEPTED))

    @app.delete("/v1/facts/{id}", response_model=None, **answers(secured, Decided, 404))
    async def withdraw(request: Request, id: Id) -> Json:
        """Take back a fact that a reviewer has stated."""
        gateway.access.spend(request.state.key, 1)
        if proposals is None or not await _kept(lambda: proposals.withdraw(id, request.state.key)):
            raise Refusal(404, "unknown_fact", "no reviewer has stated a fact of this id")
        return Json(Decided(id=id, status=Status.OPEN))


async def _checked(gateway: Gateway, request: Request, given: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """The keys of a stated triple, and its names and probability.

    Raises ``Refusal`` for an unknown label, and for a fact that the graph has.
    """
    ticket = await gateway.answer(request, [Triple(**given).model_dump()])
    answer = json.loads(ticket.answers[0])
    if "error" in answer:
        raise Refusal(404, answer["error"]["code"], answer["error"]["message"])
    if answer["known"]:
        named = " ".join(answer[part]["name"] for part in PARTS)
        raise Refusal(409, "known_fact", f"the graph has this fact already: {named}")
    names = {part: answer[part]["name"] for part in PARTS}
    return tuple(answer[part]["key"] for part in PARTS), {"names": names, "probability": answer["probability"]}


async def _kept(write: Callable[[], Any]) -> Any:
    """The value of ``write``, which writes decisions. Raises ``Refusal`` if the disk is full or read-only."""
    try:
        return await asyncio.to_thread(write)
    except OSError as error:
        raise Refusal(503, "not_kept", f"the decision could not be written: {error.strerror}") from error
