"""Routes for reviewing proposals."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi import Path as PathPart
from fastapi import Query as Parameter

from mmkgc.serving.api.cost import LOOKUP
from mmkgc.serving.api.gateway.gateway import Gateway
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.routes import Json, answers
from mmkgc.serving.api.protocol import Strict
from mmkgc.serving.review.decisions import Status
from mmkgc.serving.review.proposals import NOTHING, ProposalPage, Proposals

DECISIONS = {"accept": Status.ACCEPTED, "reject": Status.REJECTED, "reopen": Status.OPEN}


class DecisionRequest(Strict):
    """What a reviewer decides; ``reopen`` takes a decision back."""

    decision: Literal["accept", "reject", "reopen"]


class Decided(Strict):
    """The proposal's new status."""

    id: str
    status: Status


def add_review(app: FastAPI, gateway: Gateway, secured: dict[str, Any], proposals: Proposals | None) -> None:
    """Add the routes of proposals and decisions; without a file of proposals the list is empty."""

    @app.get("/v1/proposals", response_model=None, **answers(secured, ProposalPage))
    async def listed(
        request: Request,
        relation: Annotated[str | None, Parameter(max_length=500, description="key of a relation")] = None,
        status: Annotated[Literal["open", "accepted", "rejected", "all"], Parameter()] = "open",
        limit: Annotated[int, Parameter(ge=1, le=200)] = 50,
        offset: Annotated[int, Parameter(ge=0, le=10_000_000)] = 0,
    ) -> Json:
        """Proposed triples, best first, and how many of each relation are decided."""
        gateway.access.spend(request.state.key, LOOKUP)
        wanted = None if status == "all" else Status(status)
        page = await asyncio.to_thread(proposals.page, relation, wanted, limit, offset) if proposals else NOTHING
        return Json(page)

    @app.post("/v1/proposals/{id}", response_model=None, **answers(secured, Decided, 404))
    async def decide(body: DecisionRequest, request: Request, id: Annotated[str, PathPart(max_length=100)]) -> Json:
        """Accept or reject a proposal, or take that back; the answer comes when the decision is on the disk."""
        gateway.access.spend(request.state.key, 1)
        status = DECISIONS[body.decision]
        try:
            found = proposals is not None and await asyncio.to_thread(proposals.decide, id, status, request.state.key)
        except OSError as error:  # the disk is full or read-only
            raise Refusal(503, "not_kept", f"the decision could not be written: {error.strerror}") from error
        if not found:
            raise Refusal(404, "unknown_proposal", "there is no proposal of this id")
        return Json(Decided(id=id, status=status))
