"""The routes of the HTTP API."""

from base64 import b64decode
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi import Query as Parameter
from fastapi.openapi.utils import get_openapi
from fastapi.responses import Response
from prometheus_client import generate_latest
from pydantic import ConfigDict, Field, SkipValidation, ValidationError
from pydantic_core import to_json

from mmkgc.components.runtime.errors import did_you_mean, shown
from mmkgc.serving.api.gateway import stream
from mmkgc.serving.api.gateway.access import UNAUTHORIZED
from mmkgc.serving.api.gateway.gateway import Gateway
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.protocol import (
    MAX_BATCH,
    MAX_STREAMED,
    Answers,
    Entities,
    EntityDetails,
    ErrorCode,
    ModelInfo,
    Query,
    QueryError,
    Refused,
    Relations,
    Strict,
    Triple,
    describe,
)
from mmkgc.serving.api.wire import Name, join

EXAMPLE: dict[str, Any] = {"head": "Norway", "relation": "borders"}


class CompleteRequest(Strict):
    """Queries; each is checked on its own, so that a bad one fails alone."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"queries": [EXAMPLE | {"k": 5, "explain": True}]}]})

    queries: Annotated[
        list[SkipValidation[Query]],
        Field(
            min_length=1, max_length=MAX_STREAMED, description=f"at most {MAX_BATCH} if the answers are one document"
        ),
    ]


class ScoreRequest(Strict):
    """Triples to score; each is checked on its own."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"triples": [EXAMPLE | {"tail": "Sweden"}]}]})

    triples: Annotated[list[SkipValidation[Triple]], Field(min_length=1, max_length=MAX_BATCH)]


LINES = "one answer (Completion, Scored or Failed) a line, in the order of the queries, each with its `model`"


class Json(Response):
    """A JSON response, serialized several times faster than by the standard library."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return to_json(content)


def secured(gateway: Gateway) -> dict[str, Any]:
    """Arguments of a route that requires a key and documents the refusals."""

    async def admit(request: Request) -> None:  # async: FastAPI runs synchronous functions in another thread
        if request.state.key is None:
            raise UNAUTHORIZED
        _refuse_unknown(request)

    return {
        "dependencies": [Depends(admit)],
        "openapi_extra": {"security": [{"key": []}]},
        "responses": {status: {"model": Refused} for status in (400, 401, 408, 413, 422, 429, 500, 503)},
    }


def add_questions(app: FastAPI, gateway: Gateway, secured: dict[str, Any]) -> None:
    """Add the routes that complete and score triples."""

    @app.post("/v1/complete", response_model=None, **streamed(answers(secured, Answers)))
    async def complete(body: CompleteRequest, request: Request) -> Response:
        """Complete triples, or score them where all three parts are given.

        With the header `Accept: application/x-ndjson` each answer is a line, sent as soon as it and those before it
        are there. A query that fails has a line with its error.
        """
        if stream.is_wanted(request):
            return stream.Lines(stream.Stream(gateway, request.state.key), body.queries)
        if len(body.queries) > MAX_BATCH:
            raise Refusal(
                422, "invalid_request", f"body.queries: more than {MAX_BATCH}; send fewer, or let them stream"
            )
        answered = await gateway.answer(request, body.queries)
        return _answered(answered.model, answered.answers)

    @app.post("/v1/score", response_model=None, **answers(secured, Answers))
    async def score(body: ScoreRequest, request: Request) -> Response:
        """Score given triples."""
        checked = [_triple(value) for value in body.triples]
        answered = await gateway.answer(request, [query for query, _ in checked if query is not None])
        answers = iter(answered.answers)
        return _answered(answered.model, [failed or next(answers) for _, failed in checked])


def add_catalog(app: FastAPI, gateway: Gateway, secured: dict[str, Any]) -> None:
    """Add the routes of entities, relations and the model."""

    @app.get("/v1/entities", response_model=None, **answers(secured, Entities))
    async def entities(
        request: Request,
        q: Annotated[str, Parameter(max_length=200, description="a piece of a name or key")] = "",
        limit: Annotated[int, Parameter(ge=1, le=100)] = 10,
        type: Annotated[str | None, Parameter(max_length=200)] = None,
    ) -> Json:
        """Find entities by label, the closest first."""
        return Json(await gateway.ask(request, "search", text=q, limit=limit, type=type))

    @app.get("/v1/entity", response_model=None, **answers(secured, EntityDetails, 404))
    async def entity(
        request: Request,
        entity: Annotated[str, Parameter(max_length=500, description="key or name")],
        limit: Annotated[int, Parameter(ge=0, le=200, description="how many known triples")] = 50,
    ) -> Json:
        """An entity: its description and its known triples."""
        return Json(await gateway.ask(request, "entity", entity=entity, limit=limit))

    @app.get("/v1/picture", response_class=Response, **answers(secured, None, 404))
    async def picture(request: Request, entity: Annotated[str, Parameter(max_length=500)]) -> Response:
        """The picture of an entity, WebP; no content (204) if it has none."""
        found = await gateway.ask(request, "thumbnail", entity=entity)
        if found["image"] is None:
            return Response(status_code=204)
        return Response(b64decode(found["image"]), media_type=found["media_type"])

    @app.get("/v1/relations", response_model=None, **answers(secured, Relations, 404))
    async def relations(
        request: Request,
        entity: Annotated[str | None, Parameter(max_length=500, description="list its own relations first")] = None,
    ) -> Json:
        """All relations."""
        return Json(await gateway.ask(request, "relations", entity=entity))

    @app.get("/v1/model", response_model=None, **answers(secured, ModelInfo))
    async def model(request: Request) -> Json:
        """Which model answers, and what it was made from."""
        return Json(await gateway.ask(request, "model"))


def add_watch(app: FastAPI, gateway: Gateway, secured: dict[str, Any]) -> None:
    """Add the routes for monitoring the gateway."""

    @app.get("/metrics", response_class=Response, **secured)
    async def metrics() -> Response:
        """Prometheus metrics of the gateway."""
        return Response(generate_latest(gateway.metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Whether the gateway runs; tells nothing else and needs no key."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Refused}})
    async def ready() -> dict[str, str]:
        """Whether the model answers; tells nothing else and needs no key."""
        await gateway.readiness.check()
        return {"status": "ok"}


def add_description(app: FastAPI, dependencies: Sequence[Any]) -> None:
    """Add the route of the API's own description."""

    @app.get("/openapi.json", include_in_schema=False, dependencies=dependencies)
    async def openapi() -> Json:
        return Json(schema(app))


def schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description; ``openapi.json`` next to this file is a copy."""
    described = get_openapi(title=app.title, version=app.version, routes=app.routes, description=app.description)
    described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return described


def answers(secured: dict[str, Any], model: Any, *further: int) -> dict[str, Any]:
    """Arguments of a secured route whose answer is a ``model`` or a refusal with one of the ``further`` statuses."""
    good = {200: {"model": model} if model else {"content": {"image/webp": {}}}}
    return secured | {"responses": good | secured["responses"] | {status: {"model": Refused} for status in further}}


def streamed(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a route whose answers may also be lines."""
    lines = {
        "description": "Successful Response",
        "content": {stream.MEDIA_TYPE: {"schema": {"type": "string", "description": LINES}}},
    }
    responses = arguments["responses"]
    return arguments | {"responses": responses | {200: responses[200] | lines}}


def _refuse_unknown(request: Request) -> None:
    """Raise ``Refusal`` if the address has a parameter that the route has not: a misspelt one would be ignored."""
    parameters = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params.keys() - parameters:
        mend = did_you_mean(name, parameters) if parameters else "this address takes none"
        raise Refusal(422, "invalid_request", f"query.{shown(name)}: there is no such parameter — {mend}")


def _answered(model: Name, answers: Sequence[bytes]) -> Response:
    return Response(join(model, answers), media_type="application/json")


def _triple(value: Any) -> tuple[dict[str, Any] | None, bytes | None]:
    """The query that scores a triple, or the failed answer if ``value`` is not a valid triple."""
    try:
        return Triple.model_validate(value).model_dump(), None
    except ValidationError as error:
        return None, to_json(QueryError(ErrorCode.INVALID_QUERY, describe(error)).as_answer())
