"""The gateway: HTTP API and explorer page in front of the model."""

import asyncio
import time
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import generate_latest
from pydantic import Field, SkipValidation, ValidationError
from starlette.exceptions import HTTPException

from serving.gateway.access import Access
from serving.gateway.batcher import Batcher
from serving.gateway.observe import Metrics, Observer, log_json
from serving.gateway.refusal import Refusal
from serving.gateway.settings import Limits, read_keys
from serving.gateway.upstream import Model, TorchServeModel, Upstream
from serving.protocol import (
    MAX_BATCH,
    Answers,
    Entities,
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

PAGE = Path(__file__).parent / "explorer"
VERSION = "1"


class CompleteRequest(Strict):
    """Queries; each is checked on its own, so that a bad one fails alone."""

    queries: Annotated[list[SkipValidation[Query]], Field(min_length=1, max_length=MAX_BATCH)]


class ScoreRequest(Strict):
    """Triples to score; each is checked on its own."""

    triples: Annotated[list[SkipValidation[Triple]], Field(min_length=1, max_length=MAX_BATCH)]


class Gateway:
    """What the routes share: who may ask, the model, and what is measured."""

    def __init__(self, model: Model, keys: Sequence[str], limits: Limits) -> None:
        self.limits = limits
        self.access = Access(keys, limits.queries_per_second, limits.burst)
        self.upstream = Upstream(model)
        self.metrics = Metrics()
        self.batcher = Batcher(self._call, limits.calls, limits.per_call, limits.max_waiting)

    async def answer(self, request: Request, queries: Sequence[Any]) -> dict[str, Any]:
        """Answers of a request's queries; raises ``Refusal``."""
        self.access.spend(request.state.key, len(queries))
        try:
            async with asyncio.timeout(self.limits.timeout):
                ticket = await self.batcher.submit(queries)
        except TimeoutError:
            raise Refusal(503, "timeout", f"no answer within {self.limits.timeout:g} s", retry_after=1) from None
        request.scope["told"] = {"queries": len(queries), "model_version": ticket.model.get("version")}
        self.metrics.answered(ticket.model, ticket.answers)
        return {"model": ticket.model, "answers": ticket.answers}

    async def ask(self, request: Request, operation: str, **arguments: Any) -> dict[str, Any]:
        """Another operation of ``serving.service``."""
        self.access.spend(request.state.key, 1)
        given = {name: value for name, value in arguments.items() if value is not None}
        return await self.upstream.ask({"operation": operation} | given)

    async def _call(self, queries: list[Any]) -> dict[str, Any]:
        self.metrics.call_queries.observe(len(queries))
        self.metrics.waiting.set(len(self.batcher.waiting))
        begun = time.perf_counter()
        try:
            return await self.upstream.answer(queries)
        finally:
            self.metrics.call_seconds.observe(time.perf_counter() - begun)
            self.metrics.retries.set(self.upstream.retries)


def create_app(model: Model, keys: Sequence[str], limits: Limits | None = None) -> FastAPI:
    """The gateway's application in front of ``model``, open to whoever has one of ``keys``."""
    limits = limits or Limits()
    gateway = Gateway(model, keys, limits)
    app = FastAPI(title="mmkgc gateway", version=VERSION, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.gateway = gateway
    app.add_middleware(Observer, metrics=gateway.metrics, max_body=limits.max_body)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    _add_routes(app, gateway)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def from_env() -> FastAPI:
    """The application as containers run it: ``uvicorn --factory serving.gateway.app:from_env``.

    ``MMKGC_GATEWAY_UPSTREAM`` is TorchServe's prediction URL; keys and limits: see ``settings``.
    """
    import os

    log_json()
    return create_app(TorchServeModel(os.environ["MMKGC_GATEWAY_UPSTREAM"]), read_keys(), Limits.from_env())


def schema(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, which ``openapi.json`` beside this file repeats."""
    described = get_openapi(title=app.title, version=app.version, routes=app.routes, description=__doc__)
    described["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return described


def _add_routes(app: FastAPI, gateway: Gateway) -> None:
    def admit(request: Request) -> None:
        request.state.key = gateway.access.admit(request.headers.get("authorization", ""))

    refused: dict[int | str, dict[str, Any]] = {status: {"model": Refused} for status in (400, 401, 413, 422, 429, 503)}
    secured: dict[str, Any] = {
        "dependencies": [Depends(admit)],
        "openapi_extra": {"security": [{"key": []}]},
        "responses": refused,
    }

    @app.post("/v1/complete", response_model=None, **_answers(secured, Answers))
    async def complete(body: CompleteRequest, request: Request) -> JSONResponse:
        """Complete triples, or score them where all three parts are given."""
        return JSONResponse(await gateway.answer(request, body.queries))

    @app.post("/v1/score", response_model=None, **_answers(secured, Answers))
    async def score(body: ScoreRequest, request: Request) -> JSONResponse:
        """Score given triples."""
        checked = [_triple(value) for value in body.triples]
        answered = await gateway.answer(request, [query for query, _ in checked if query is not None])
        answers = iter(answered["answers"])
        whole = [next(answers) if failed is None else failed for _, failed in checked]
        return JSONResponse(answered | {"answers": whole})

    @app.get("/v1/entities", response_model=None, **_answers(secured, Entities))
    async def entities(
        request: Request,
        q: Annotated[str, Parameter(max_length=200, description="a piece of a name or key")] = "",
        limit: Annotated[int, Parameter(ge=1, le=100)] = 10,
        type: Annotated[str | None, Parameter(max_length=200)] = None,
    ) -> JSONResponse:
        """Find entities by label, the closest first."""
        return JSONResponse(await gateway.ask(request, "search", text=q, limit=limit, type=type))

    @app.get("/v1/picture", response_class=Response, **_answers(secured, None, 404))
    async def picture(request: Request, entity: Annotated[str, Parameter(max_length=500)]) -> Response:
        """The picture of an entity, WebP; no content (204) if it has none."""
        found = await gateway.ask(request, "thumbnail", entity=entity)
        if found["image"] is None:
            return Response(status_code=204)
        return Response(b64decode(found["image"]), media_type=found["media_type"])

    @app.get("/v1/relations", response_model=None, **_answers(secured, Relations, 404))
    async def relations(
        request: Request,
        entity: Annotated[str | None, Parameter(max_length=500, description="list its own relations first")] = None,
    ) -> JSONResponse:
        """All relations."""
        return JSONResponse(await gateway.ask(request, "relations", entity=entity))

    @app.get("/v1/model", response_model=None, **_answers(secured, ModelInfo))
    async def model(request: Request) -> JSONResponse:
        """Which model answers, and what it was made from."""
        return JSONResponse(await gateway.ask(request, "model"))

    @app.get("/metrics", response_class=Response, **secured)
    async def metrics() -> Response:
        """Prometheus metrics of the gateway."""
        return Response(generate_latest(gateway.metrics.registry), media_type="text/plain; version=0.0.4")

    @app.get("/openapi.json", include_in_schema=False, dependencies=secured["dependencies"])
    async def openapi() -> JSONResponse:
        """This description."""
        return JSONResponse(schema(app))

    @app.get("/healthz")
    async def alive() -> dict[str, str]:
        """Whether the gateway runs; tells nothing else and needs no key."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Refused}})
    async def ready() -> dict[str, str]:
        """Whether the model answers; tells nothing else and needs no key."""
        await gateway.upstream.ask({"operation": "model"})
        return {"status": "ok"}


def _answers(secured: dict[str, Any], model: Any, *further: int) -> dict[str, Any]:
    """Route arguments: secured, and documented to answer ``model``, or a refusal with a ``further`` status."""
    good = {200: {"model": model} if model else {"content": {"image/webp": {}}}}
    return secured | {"responses": good | secured["responses"] | {status: {"model": Refused} for status in further}}


def _triple(value: Any) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The query that scores a triple, or the failed answer to what is none."""
    try:
        return Triple.model_validate(value).model_dump(), None
    except ValidationError as error:
        return None, QueryError(ErrorCode.INVALID_QUERY, describe(error)).as_answer()


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return Refusal(422, "invalid_request", f"{where}: {first['msg']}").response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refusal(error.status_code, "http", error.detail).response()
