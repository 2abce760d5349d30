"""Checks a request before it is parsed: its API key, and the size, duration and complexity of its body."""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmkgc.serving.api.gateway.access import UNAUTHORIZED, Access
from mmkgc.serving.api.gateway.refusal import Refusal

WITHOUT_BODY = ("GET", "HEAD")
MARKS = (b"[", b"{", b",", b":")
MAX_MARKS = 250_000  # 0.1 s of parsing, which blocks the event loop


class Door:
    """ASGI middleware that sets ``request.state.key`` to the number of the request's key, or ``None``.

    Requests other than GET and HEAD are refused without a key, before their body is read. A body is read completely
    before it is passed on: within ``seconds``, at most ``max_body`` bytes and 250,000 JSON values. Raises ``Refusal``
    401, 408 or 413.
    """

    def __init__(self, app: ASGIApp, access: Access, max_body: int, seconds: float) -> None:
        self.app, self.access, self.max_body, self.seconds = app, access, max_body, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            key = self.access.find(headers.get(b"authorization", b""))
            scope.setdefault("state", {})["key"] = key
            if scope["method"] not in WITHOUT_BODY:
                receive = await self._checked(key, headers, receive)
        await self.app(scope, receive, send)

    async def _checked(self, key: int | None, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Check the key and the body; returns the ``receive`` for the application."""
        if key is None:
            raise UNAUTHORIZED
        if int(headers.get(b"content-length") or 0) > self.max_body:
            raise self._too_large()
        try:
            async with asyncio.timeout(self.seconds):
                body = await self._read(receive)
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the body did not come within {self.seconds:g} s") from None
        return _again(body, receive)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "disconnected", "the client went away")
            parts.append(message.get("body", b""))
            size, more = size + len(parts[-1]), message.get("more_body", False)
            if size > self.max_body:
                raise self._too_large()
        body = b"".join(parts)
        if sum(body.count(mark) for mark in MARKS) > MAX_MARKS:
            raise Refusal(413, "too_large", f"the body has more than {MAX_MARKS} values; send fewer at once")
        return body

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body has more than {self.max_body} bytes; send fewer queries at once")


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns the already read ``body`` first."""
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def received() -> Message:
        nonlocal first
        message, first = first, None
        return message or await receive()

    return received
