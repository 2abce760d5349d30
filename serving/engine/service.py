"""Handles JSON requests with the engine, for TorchServe and MLflow."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from mmkgc.serving.api.protocol import MAX_BATCH, ErrorCode, QueryError, Strict, describe
from mmkgc.serving.api.wire import join
from mmkgc.serving.engine.engine import Engine, Report
from mmkgc.serving.engine.lookup import Catalog


class AnswerRequest(Strict):
    """Answer queries; each is validated separately, so that an invalid one does not fail the others."""

    operation: Literal["answer"]
    queries: Annotated[list[Any], Field(max_length=MAX_BATCH)]
    within: Annotated[float, Field(gt=0, description="seconds after which nobody waits for the answers")] = math.inf


class SearchRequest(Strict):
    """Find entities by a part of their name or key."""

    operation: Literal["search"]
    text: Annotated[str, Field(max_length=200)] = ""
    type: str | None = None
    limit: Annotated[int, Field(ge=1, le=100)] = 10


class RelationsRequest(Strict):
    """List the relations; those of a given entity come first."""

    operation: Literal["relations"]
    entity: str | None = None


class EntityRequest(Strict):
    """Describe an entity: its text and its known triples."""

    operation: Literal["entity"]
    entity: str
    limit: Annotated[int, Field(ge=0, le=200)] = 50


class ThumbnailRequest(Strict):
    """The picture of an entity, as base64."""

    operation: Literal["thumbnail"]
    entity: str


class ModelRequest(Strict):
    """Describe the model."""

    operation: Literal["model"]


Found = tuple[int, dict[str, Any]]  # status, JSON
Request = AnswerRequest | SearchRequest | RelationsRequest | EntityRequest | ThumbnailRequest | ModelRequest
_REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="operation")])


class Response(NamedTuple):
    """HTTP status and JSON body."""

    status: int
    body: bytes


def respond(engine: Engine, bodies: Sequence[Any], report: Report | None = None) -> list[Response]:
    """Answer several requests, with all their queries in one batch; an invalid request gets its own error status.

    ``{"queries": […]}`` without an operation is an ``answer`` request.
    """
    requests = [_parse(body) for body in bodies]
    asked = [request for request in requests if isinstance(request, AnswerRequest)]
    queries = [query for request in asked for query in request.queries]
    within = max((request.within for request in asked), default=math.inf)
    answers = map(to_json, engine.answer(queries, report, within))
    return [_respond(engine, request, answers) for request in requests]


def _parse(body: Any) -> Request | Found:
    if isinstance(body, dict) and "queries" in body:
        body = {"operation": "answer"} | body
    try:
        return _REQUEST.validate_python(body)
    except ValidationError as error:
        return 400, {"error": {"code": "invalid_request", "message": describe(error), "nearest": []}}


def _respond(engine: Engine, request: Request | Found, answers: Iterator[bytes]) -> Response:
    model = {"name": engine.name, "version": engine.version}
    if isinstance(request, AnswerRequest):
        return Response(200, join(model, [next(answers) for _ in request.queries]))
    status, found = request if isinstance(request, tuple) else _look_up(engine.catalog, request)
    return Response(status, to_json({"model": model} | found))


def _look_up(catalog: Catalog, request: Request) -> Found:
    try:
        match request:
            case SearchRequest():
                return 200, catalog.search(request.text, request.limit, request.type)
            case RelationsRequest():
                return 200, catalog.relations(request.entity)
            case EntityRequest():
                return 200, catalog.entity(request.entity, request.limit)
            case ThumbnailRequest():
                return 200, catalog.thumbnail(request.entity)
            case _:
                return 200, catalog.model()
    except QueryError as error:
        return 400 if error.code is ErrorCode.UNKNOWN_TYPE else 404, error.as_answer()
