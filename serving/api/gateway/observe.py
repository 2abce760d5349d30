"""Observability of the gateway: Prometheus metrics, and one JSON log line per request without payloads."""

import collections
import json
import logging
import re
import sys
import time
from typing import Any
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.wire import Name, outcome

log = logging.getLogger("mmkgc.gateway")
REQUEST_ID = re.compile(r"[\w.-]{1,64}")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
SECURITY = {
    b"content-security-policy": (
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
}
FAILED = Refusal(500, "internal", "the gateway failed; its log says why, under the x-request-id of this answer")


class Metrics:
    """The gateway's Prometheus metrics, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("mmkgc_gateway_requests", "Requests", ["route", "status"], **make)
        self.seconds = Histogram("mmkgc_gateway_request_seconds", "Latency of requests", ["route"], **make)
        self.queries = Counter("mmkgc_gateway_queries", "Queries", ["direction", "status"], **make)
        self.call_queries = Histogram("mmkgc_gateway_call_queries", "Queries a model call", buckets=BATCHES, **make)
        self.call_seconds = Histogram("mmkgc_gateway_call_seconds", "Latency of model calls", **make)
        self.waiting = Gauge("mmkgc_gateway_waiting_queries", "Queries that wait for a model call", **make)
        self.retries = Gauge("mmkgc_gateway_retries", "Model calls that were repeated", **make)
        self._model: Name = {}
        self.model = Gauge("mmkgc_gateway_model", "The model that answered last", ["name", "version"], **make)

    def answered(self, model: Name, answers: list[bytes]) -> None:
        """Count answers by direction and status; ``model`` is empty if none answered."""
        if model and model != self._model:
            self._model = model
            self.model.clear()
            self.model.labels(model["name"], model["version"]).set(1)
        for labels, count in collections.Counter(map(outcome, answers)).items():
            self.queries.labels(*labels).inc(count)


class Observer:
    """The outermost ASGI middleware.

    Adds request ids, log lines, metrics and security headers, and answers requests that failed or were refused before
    they reached their route.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id = _request_id(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
        begun, status = time.perf_counter(), 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                own = SECURITY | {b"x-request-id": request_id.encode()}
                message["headers"] = [*message["headers"], *own.items()]
            await send(message)

        try:
            await self.app(scope, receive, reply)
        except Refusal as refusal:  # by the Door middleware: the rest of the body is not read
            await refusal.response({"connection": "close"})(scope, receive, reply)
        except Exception:
            log.exception("request failed", extra={"fields": {"request_id": request_id}})
            if status:  # the response has begun: the server closes the connection
                raise
            await FAILED.response({"connection": "close"})(scope, receive, reply)
        finally:
            self._tell(scope, request_id, status or 500, time.perf_counter() - begun)

    def _tell(self, scope: Scope, request_id: str, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        self.metrics.requests.labels(route, status).inc()
        self.metrics.seconds.labels(route).observe(seconds)
        extra = {"request_id": request_id, "method": scope["method"], "route": route, "status": status}
        log.info("request", extra={"fields": extra | {"ms": round(1000 * seconds, 2), **scope.get("told", {})}})


class JsonFormatter(logging.Formatter):
    """Log records as JSON lines."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line."""
        line: dict[str, Any] = {"time": self.formatTime(record), "level": record.levelname.lower()}
        line |= {"message": record.getMessage()} | getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_json() -> None:
    """Send the gateway's log to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _request_id(given: str) -> str:
    return given if REQUEST_ID.fullmatch(given) else uuid4().hex
