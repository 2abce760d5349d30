"""Limits on client connections: their number, the time for a request, and the size of headers."""

import asyncio
import json
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mmkgc.serving.api.gateway.settings import Limits

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32_768
BACKLOG = 128  # connections accepted by the system before they are counted
SPARE_FILES = 256  # file descriptors for the backlog, connections to the model, and files
REASONS = {408: "Request Timeout", 431: "Request Header Fields Too Large", 503: "Service Unavailable"}


class Connection(HttpToolsProtocol):
    """One client's connection, with limits that uvicorn does not have.

    A request's headers must be complete within ``limits.header_seconds`` of its first byte (for the first request: of
    the connection), and its body within further ``limits.body_seconds``.
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
        """Process received bytes of a request."""
        if self.transport.is_closing():
            return
        if self.timer is None:  # a further request on this connection, or bytes before one
            self._wait(self.limits.header_seconds)
        in_headers = self.in_headers
        super().data_received(data)
        if in_headers and self.in_headers:  # only header bytes have arrived
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
        """Start the time limit of the body."""
        self.in_headers, self.header_bytes = False, 0
        if len(self.headers) > MAX_HEADERS or sum(len(n) + len(v) for n, v in self.headers) > MAX_HEADER_BYTES:
            self._end(431, f"there are more than {MAX_HEADERS} headers, or {MAX_HEADER_BYTES} bytes of them")
            return
        self._wait(self.limits.body_seconds + 1)  # the application times out first, with an error message
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Process a part of the body; the body of a refused request is ignored."""
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
        """Close the connection; send an error response first unless another response has begun."""
        self._stop_waiting()
        self._unset_keepalive_if_required()
        if self.cycle is None or self.cycle.response_complete:
            body = json.dumps({"error": {"code": "connection", "message": message, "nearest": []}}).encode()
            head = f"HTTP/1.1 {status} {REASONS[status]}\r\ncontent-type: application/json\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body)
        self.transport.close()


def server(app: Any, host: str, port: int, limits: Limits) -> uvicorn.Server:
    """The uvicorn server of the gateway's application on ``host`` and ``port``."""
    most = min(limits.max_connections, _descriptors() - SPARE_FILES)
    limited: Any = partial(Connection, limits=limits.model_copy(update={"max_connections": max(1, most)}))
    return uvicorn.Server(
        uvicorn.Config(app, host, port, http=limited, ws="none", log_level="warning", access_log=False, backlog=BACKLOG)
    )


def _descriptors() -> int:
    """Raise this process's limit of open files to the hard limit, and return it."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, soft)
