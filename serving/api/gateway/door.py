"""Checks a request before it is parsed: its API key, and the size, duration and complexity of its body."""

import asyncio
from collections.abc import Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmkgc.serving.api.cost import MAX_VALUES, values
from mmkgc.serving.api.gateway.access import UNAUTHORIZED, Access
from mmkgc.serving.api.gateway.refusal import Refusal

WITHOUT_BODY = ("GET", "HEAD")


class Door:
    """ASGI middleware that sets ``request.state.key`` to the number of the request's key, or ``None``.

    Requests other than GET and HEAD are refused without a key, before their body is read. A body is read completely
    before it is passed on: within ``seconds``, at most ``max_body`` bytes and 250,000 JSON values. Raises ``Refusal``
    401, 408 or 413. Requests to the paths ``keyless``, each with its largest body, are let in without a key: their
    routes check them.
    """

    def __init__(
        self, app: ASGIApp, access: Access, max_body: int, seconds: float, keyless: Mapping[str, int] | None = None
    ) -> None:
        self.app, self.access, self.max_body, self.seconds = app, access, max_body, seconds
        self.keyless = keyless or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            key = self.access.find(headers.get(b"authorization", b""))
            scope.setdefault("state", {})["key"] = key
            if scope["method"] not in WITHOUT_BODY:
                most = self.keyless.get(scope["path"])
                if key is None and most is None:
                    raise UNAUTHORIZED
                receive = await self._checked(headers, receive, most or self.max_body)
        await self.app(scope, receive, send)

    async def _checked(self, headers: dict[bytes, bytes], receive: Receive, most: int) -> Receive:
        """Check the body, of at most ``most`` bytes; returns the ``receive`` for the application."""
        if int(headers.get(b"content-length") or 0) > most:
            raise _too_large(most)
        try:
            async with asyncio.timeout(self.seconds):
                body = await _read(receive, most)
        except TimeoutError:
            raise Refusal(408, "too_slow", f"the body did not come within {self.seconds:g} s") from None
        return _again(body, receive)


async def _read(receive: Receive, most: int) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refusal(400, "disconnected", "the client went away")
        parts.append(message.get("body", b""))
        size, more = size + len(parts[-1]), message.get("more_body", False)
        if size > most:
            raise _too_large(most)
    body = b"".join(parts)
    if values(body) > MAX_VALUES:
        raise Refusal(413, "too_large", f"the body has more than {MAX_VALUES} values; send fewer at once")
    return body


def _too_large(most: int) -> Refusal:
    return Refusal(413, "too_large", f"the body has more than {most} bytes; send fewer queries at once")


def _again(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns the already read ``body`` first."""
    first: Message | None = {"type": "http.request", "body": body, "more_body": False}

    async def received() -> Message:
        nonlocal first
        message, first = first, None
        return message or await receive()

    return received
