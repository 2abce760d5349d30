"""Connections that cost the gateway more than they are worth are ended: too many, too slow, headers too long."""

import asyncio
import json
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mmkgc.serving.api.gateway.settings import Limits

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
BACKLOG = 128  # connections that are accepted at once, before they can be counted
SPARE_FILES = 256  # descriptors for the backlog, the model's connections, and files
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class Connection(HttpToolsProtocol):
    """One client's connection; uvicorn itself bounds none of this.

    A request's headers have to be complete ``limits.header_seconds`` after its first byte (the first one's, after the
    connection was made), its body ``limits.body_seconds`` later.
    """

    def __init__(self, *args: Any, limits: Limits, **named: Any) -> None:
        super().__init__(*args, **named)
        self.limits = limits
        self.timer: asyncio.TimerHandle | None = None
        self.in_headers, self.header_bytes = False, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, and refuse it if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._end(503, "too many connections are open; try again in a moment")
        else:
            self._wait(self.limits.header_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a piece of a request."""
        if self.transport.is_closing():
            return
        if self.timer is None:  # a further request on this connection, or what comes before one
            self._wait(self.limits.header_seconds)
        in_headers = self.in_headers
        super().data_received(data)
        if in_headers and self.in_headers:  # nothing but headers has come
            self.header_bytes += len(data)
            if self.header_bytes > MAX_HEADER_BYTES:
                self._end(431, f"the headers have more than {MAX_HEADER_BYTES} bytes")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.in_headers, self.header_bytes = True, 0
        if self.timer is None:
            self._wait(self.limits.header_seconds)

    def on_headers_complete(self) -> None:
        """The headers are there; the body is waited for."""
        self.in_headers, self.header_bytes = False, 0
        if len(self.headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in self.headers) > MAX_HEADER_BYTES:
            self._end(431, f"there are more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them")
            return
        self._wait(self.limits.body_seconds + 1)  # the application, which says so, gives up first
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body; of a request that was refused, none is taken."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._stop_waiting()
        if not self.transport.is_closing():
            super().on_message_complete()

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self.timer = self.loop.call_later(seconds, self._end, 408, f"the request did not come within {seconds:g} s")

    def _stop_waiting(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def _end(self, status: int, message: str) -> None:
        """Close the connection, with a refusal if nothing else was answered on it."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self.cycle is None or self.cycle.response_complete:
            body = json.dumps({"error": {"code": "connection", "message": message, "nearest": []}}).encode()
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def server(app: Any, host: str, port: int, limits: Limits) -> uvicorn.Server:
    """The server of the gateway's application, on loopback or wherever it is to be reached."""
    most = min(limits.max_connections, _descriptors() - SPARE_FILES)
    limited: Any = partial(Connection, limits=limits.model_copy(update={"max_connections": max(1, most)}))
    return uvicorn.Server(
        uvicorn.Config(app, host, port, http=limited, ws="none", log_level="warning", access_log=False, backlog=BACKLOG)
    )


def _descriptors() -> int:
    """How many files this process may open, after it has taken what the system allows."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, soft)
