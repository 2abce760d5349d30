"""The gateway: HTTP API and explorer page in front of the model."""

import gc
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import is_http_url, masked
from mmkgc.components.runtime.settings import variable
from mmkgc.serving.api.gateway.door import Door
from mmkgc.serving.api.gateway.gateway import Gateway
from mmkgc.serving.api.gateway.hook import MAX_BODY, add_hook
from mmkgc.serving.api.gateway.hook import PATH as HOOK
from mmkgc.serving.api.gateway.observe import Observer, log_json
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.review import add_review
from mmkgc.serving.api.gateway.routes import add_catalog, add_description, add_questions, add_watch, secured
from mmkgc.serving.api.gateway.settings import PREFIX, Limits, Public, read_keys
from mmkgc.serving.api.gateway.upstream import Model, TorchServeModel
from mmkgc.serving.api.words import sentence
from mmkgc.serving.review.proposals import Proposals

PAGE = Path(__file__).parent / "explorer"
VERSION = "1"
CROSS_SITE: dict[str, Any] = {
    "allow_methods": ["GET", "POST", "DELETE"],
    "allow_headers": ["authorization", "content-type", "x-request-id"],
    "expose_headers": ["x-request-id", "retry-after"],
}


class Hook(NamedTuple):
    """What to call when MLflow says, with a message that is signed with ``secret``, that an alias has moved."""

    secret: str
    moved: Callable[[], object]


def create_app(
    model: Model,
    keys: Sequence[str],
    limits: Limits | None = None,
    proposals: Proposals | None = None,
    hook: Hook | None = None,
    public: Public | None = None,
) -> FastAPI:
    """Create the gateway's application for ``model``; clients need one of the API ``keys``.

    ``proposals``: triples to be reviewed. ``hook``: takes MLflow's webhooks. ``public``: what needs no key.
    """
    limits, public = limits or Limits(), public or Public()
    gateway = Gateway(model, keys, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await gateway.upstream.model.close()

    documented: dict[str, Any] = {"title": "mmkgc gateway", "version": VERSION, "description": __doc__}
    app = FastAPI(**documented, docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.state.gateway = gateway
    keyless = {HOOK: MAX_BODY} if hook else {}
    app.add_middleware(
        Door, access=gateway.access, max_body=limits.max_body, seconds=limits.body_seconds, keyless=keyless
    )
    app.add_middleware(Observer, metrics=gateway.metrics)
    if public.sites:  # the middleware that is added last is the outermost: refusals, too, must name the site
        app.add_middleware(CORSMiddleware, allow_origins=public.sites, **CROSS_SITE)
    app.add_exception_handler(Refusal, _refuse)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http_error)
    for add in (add_questions, add_catalog, add_watch):
        add(app, gateway, secured(gateway))
    add_description(app, [] if public.description else secured(gateway)["dependencies"])
    add_review(app, gateway, secured(gateway), proposals)
    if hook:
        add_hook(app, *hook)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def from_env() -> FastAPI:
    """Create the application from environment variables, for ``python -m mmkgc.serving.api.gateway``.

    ``MMKGC_GATEWAY_UPSTREAM`` is TorchServe's prediction URL, ``MMKGC_GATEWAY_UPSTREAM_TOKEN`` (optional) its token,
    ``MMKGC_GATEWAY_PROPOSALS`` (optional) a file of proposals; decisions on them are stored under ``MMKGC_HOME``. For
    keys and limits see ``settings``.
    """
    log_json()
    gc.freeze()  # exclude imported modules from garbage collection
    file = variable(f"{PREFIX}PROPOSALS")
    proposals = Proposals(Path(file).expanduser()) if file else None
    model = TorchServeModel(_upstream(), variable(f"{PREFIX}UPSTREAM_TOKEN") or "")
    return create_app(model, read_keys(), Limits.from_env(), proposals, public=Public.from_env())


def _upstream() -> str:
    """The URL of ``MMKGC_GATEWAY_UPSTREAM``. Raises UserError if it is not set, or not an HTTP URL."""
    name, mend = f"{PREFIX}UPSTREAM", "set it to TorchServe's prediction URL: http://HOST:PORT/predictions/MODEL"
    url = variable(name)
    if url is None:
        raise UserError(name, "it is not set, so there is no model to ask", mend)
    if not is_http_url(url):
        raise UserError(f"{name}={masked(url)}", "this is not an HTTP URL", mend)
    return url


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = getattr(request.scope.get("route"), "body_field", None)
    fields = getattr(body and body.field_info.annotation, "model_fields", {})
    return Refusal(422, "invalid_request", sentence(error.errors(), fields)).response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Refusal(error.status_code, "http", error.detail).response()
