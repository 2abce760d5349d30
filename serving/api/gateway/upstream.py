"""The model behind the gateway: HTTP requests to TorchServe, and replacement without a lost request."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Protocol

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from pydantic_core import from_json

from mmkgc.serving.api import wire
from mmkgc.serving.api.gateway.refusal import Refusal

ATTEMPTS = 6
FIRST_DELAY = 0.05
SLOW = 5.0  # seconds; calls that fail later than this are not repeated
JSON = {"content-type": "application/json"}
OTHER_RELEASE = "the model's answers have a form that this gateway does not know; deploy both from one release"


class Gone(Exception):
    """A model did not answer: its server is unavailable or too slow."""


class Model(Protocol):
    """Interface of a model that answers requests of ``mmkgc.serving.engine.service``."""

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        """HTTP status and JSON answer of one JSON request; raises ``Gone``."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class TorchServeModel(Model):
    """A model in TorchServe at ``url`` (``…/predictions/<name>``), with a ``token`` if it requires one."""

    def __init__(self, url: str, token: str = "", timeout: float = 30) -> None:
        self.url, self.timeout = url, ClientTimeout(timeout)
        self.headers = JSON | ({"authorization": f"Bearer {token}"} if token else {})
        self._http: ClientSession | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        """Post one request."""
        if self._http is None:  # a session belongs to the running event loop
            self._http = ClientSession(connector=TCPConnector(limit=64, keepalive_timeout=60), timeout=self.timeout)
        try:
            async with self._http.post(self.url, data=body, headers=self.headers) as response:
                return response.status, await response.read()
        except (ClientError, TimeoutError) as error:
            raise Gone from error

    async def close(self) -> None:
        """Close the connections."""
        if self._http:
            await self._http.close()


class Upstream:
    """Calls the current model, and retries while it is unavailable (dead worker, version being replaced)."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.retries = 0
        self._asking: dict[Model, int] = {}

    async def ask(self, body: dict[str, Any], attempts: int = ATTEMPTS) -> dict[str, Any]:
        """The answer to a request; raises ``Refusal``: 503 if the model stays unavailable, else the model's error."""
        return from_json(await self._ask(json.dumps(body).encode(), attempts))

    async def answer(self, queries: Sequence[bytes], within: float) -> tuple[wire.Name, list[bytes]]:
        """The model that answered, and the JSON of each answer to the JSON ``queries``.

        The model stops after ``within`` seconds, when the request has timed out. Raises ``Refusal`` as ``ask`` does.
        """
        content = b'{"operation":"answer","within":%f,"queries":[%b]}' % (within, b",".join(queries))
        body = await self._ask(content, ATTEMPTS)
        try:
            return wire.split(body)
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(503, "unavailable", OTHER_RELEASE) from error

    async def replace(self, model: Model) -> None:
        """Send new requests to ``model``; returns once the old one has answered all its requests."""
        old, self.model = self.model, model
        while self._asking.get(old):
            await asyncio.sleep(0.02)
        await old.close()

    async def _ask(self, body: bytes, attempts: int) -> bytes:
        for attempt in range(attempts):
            begun = time.monotonic()
            status, answer = await self._ask_once(body)
            if status < 500:
                break
            if time.monotonic() - begun > SLOW:  # the model may still be working on it
                raise Refusal(503, "timeout", "the model took too long; ask less at once", retry_after=2)
            self.retries += 1
            await asyncio.sleep(FIRST_DELAY * 2**attempt)
        else:
            raise Refusal(503, "unavailable", "the model does not answer just now", retry_after=2)
        if status == 200:
            return answer
        try:
            error = from_json(answer)["error"]
        except (ValueError, KeyError, TypeError):  # an error of TorchServe, not of the model
            raise Refusal(503, "unavailable", "the model server refused the request") from None
        raise Refusal(status, error["code"], error["message"], nearest=error["nearest"])

    async def _ask_once(self, body: bytes) -> tuple[int, bytes]:
        model = self.model
        self._asking[model] = self._asking.get(model, 0) + 1
        try:
            return await model.ask(body)
        except Gone:
            return 503, b""
        finally:
            self._asking[model] -= 1
            if not self._asking[model]:
                del self._asking[model]
