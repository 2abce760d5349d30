"""Typed clients of the gateway, synchronous and asynchronous.

with Client("http://127.0.0.1:8080", key) as client:
    client.complete({"head": "Norway", "relation": "borders"}).predictions[0].name
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import TypeAdapter

from mmkgc.components.runtime.loopback import is_loopback
from mmkgc.components.runtime.quoting import is_http_url
from mmkgc.serving.api.cost import MAX_VALUES, batches, values
from mmkgc.serving.api.protocol import Answer, Answers, Completion, Failed, Problem, Query, Scored

RETRIED = (429, 502, 503, 504)
"""Statuses of a busy gateway, and of a proxy in front of one that is restarted."""
UNREACHED = "mmkgc.unreached"
"""Extension of the response that stands for a gateway which did not answer."""
STREAMED, STREAMED_BYTES = 10_000, 8_000_000
"""Queries and bytes of one streamed request: well within the gateway's limits, and soon sent again if it breaks."""
LINES = {"accept": "application/x-ndjson"}
Asked = Query | Mapping[str, Any]
_ANSWERS: TypeAdapter[Answers] = TypeAdapter(Answers)
_ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)


class ClientError(Exception):
    """The gateway refused a request, or was not asked; ``status``: HTTP status, 0 if there is none."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(ClientError):
    """No gateway answered at the URL; ``status`` is 0."""


class QueryFailed(Exception):
    """One query could not be answered; ``problem`` has the reason and suggestions."""

    def __init__(self, problem: Problem) -> None:
        near = ", ".join(str(item.name) for item in problem.nearest)
        super().__init__(problem.message + (f" — did you mean: {near}?" if near else ""))
        self.problem = problem


class _Shared:
    """Common part of both clients."""

    def __init__(self, url: str, key: str, retries: int) -> None:
        if not is_http_url(url):
            raise ClientError(0, f"'{url}' is not the URL of a gateway: write http://HOST:PORT")
        if not key.isascii() or not key.isprintable():
            raise ClientError(0, "an API key is made of printable ASCII characters")
        self.url, self.retries = url.rstrip("/"), retries
        self.proxied = not is_loopback(url)
        self.headers = {"authorization": f"Bearer {key}"}

    def delays(self) -> Iterator[float]:
        """Seconds to wait before each further attempt, doubling from 0.1."""
        return (0.1 * 2**attempt for attempt in range(self.retries))

    def batches(self, queries: Sequence[Asked]) -> Iterator[dict[str, Any]]:
        """Request bodies within the gateway's limits on the number and cost of queries."""
        for batch in batches([_json(query) for query in queries]):
            yield {"queries": batch}

    def portions(self, queries: Iterable[Asked]) -> "Iterator[_Unanswered]":
        """The queries in portions for one streamed request each; they are drawn as they are needed."""
        portion: list[dict[str, Any]] = []
        size = number = 0
        for query in map(_json, queries):
            content = json.dumps(query).encode()
            size, number = size + len(content) + 1, number + values(content) + 1
            if portion and (len(portion) == STREAMED or size > STREAMED_BYTES or number > MAX_VALUES - 10):
                yield _Unanswered(self.url, portion, self.delays)
                portion, size, number = [], len(content) + 1, values(content) + 1
            portion.append(query)
        if portion:
            yield _Unanswered(self.url, portion, self.delays)


class _Unanswered:
    """The queries of a streamed request that have no answer yet."""

    def __init__(self, url: str, queries: list[dict[str, Any]], delays: Callable[[], Iterator[float]]) -> None:
        self.url, self.queries, self.answered = url, queries, 0
        self._all_delays, self._delays = delays, delays()

    def __bool__(self) -> bool:
        return self.answered < len(self.queries)

    @property
    def body(self) -> dict[str, Any]:
        """The request for these queries."""
        return {"queries": self.queries[self.answered :]}

    def read(self, line: str) -> Answer:
        """The answer to the first of them."""
        answer = _ANSWER.validate_json(line)
        self.answered, self._delays = self.answered + 1, self._all_delays()
        return answer

    def pause(self, response: httpx.Response) -> float:
        """Seconds to wait before they are sent again, after a ``response`` that did not answer all of them.

        Raises ``ClientError`` if that is of no use.
        """
        if response.is_success:
            response = _unreachable(self.url, ConnectionError("the answer broke off"))
        delay = next(self._delays, None)
        if response.status_code not in RETRIED or delay is None:
            _checked(response)
        return _wait(response, delay or 0)


class Client(_Shared):
    """Client of the gateway at ``url`` with an API ``key``; repeats a request up to ``retries`` times if it is busy."""

    def __init__(self, url: str, key: str = "", retries: int = 5, timeout: float = 60) -> None:
        super().__init__(url, key, retries)
        self._http = httpx.Client(base_url=self.url, headers=self.headers, timeout=timeout, trust_env=self.proxied)

    def complete_all(self, queries: Sequence[Asked]) -> list[Completion | Scored | Failed]:
        """One answer a query, in order; failed ones are ``Failed``."""
        return [
            answer for body in self.batches(queries) for answer in _read(self._send("POST", "/v1/complete", json=body))
        ]

    def stream(self, queries: Iterable[Asked]) -> Iterator[Answer]:
        """One answer a query, in order, each as soon as it is there; failed ones are ``Failed``.

        For any number of queries, which are drawn as they are needed. If the connection breaks, the queries without an
        answer are sent again.
        """
        for unanswered in self.portions(queries):
            while unanswered:
                try:
                    with self._http.stream("POST", "/v1/complete", json=unanswered.body, headers=LINES) as response:
                        if response.is_success:
                            yield from map(unanswered.read, response.iter_lines())
                        else:
                            response.read()
                except httpx.TransportError as error:
                    response = _unreachable(self.url, error)
                if unanswered:
                    time.sleep(unanswered.pause(response))

    def complete(self, query: Asked) -> Completion:
        """The predictions of one query; raises ``QueryFailed``."""
        return _only(self.complete_all([query]), Completion)

    def score(self, head: str, relation: str, tail: str) -> Scored:
        """The score of one triple; raises ``QueryFailed``."""
        body = {"triples": [{"head": head, "relation": relation, "tail": tail}]}
        return _only(_read(self._send("POST", "/v1/score", json=body)), Scored)

    def entities(self, text: str = "", limit: int = 10) -> list[dict[str, Any]]:
        """Entities whose name matches ``text``: key, name, type, and whether there is a picture."""
        return self._send("GET", "/v1/entities", params={"q": text, "limit": limit}).json()["entities"]

    def entity(self, entity: str, limit: int = 50) -> dict[str, Any]:
        """An entity, given by key or name: its type, description, and ``limit`` of its known triples."""
        return self._send("GET", "/v1/entity", params={"entity": entity, "limit": limit}).json()

    def relations(self) -> list[dict[str, Any]]:
        """All relations: key, name and number of triples."""
        return self._send("GET", "/v1/relations").json()["relations"]

    def model(self) -> dict[str, Any]:
        """Description of the model."""
        return self._send("GET", "/v1/model").json()

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        for delay in [*self.delays(), None]:
            try:
                response = self._http.request(method, path, **content)
            except httpx.TransportError as error:
                response = _unreachable(self.url, error)
            if response.status_code not in RETRIED or delay is None:
                return _checked(response)
            time.sleep(_wait(response, delay))
        raise AssertionError("unreachable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()


class AsyncClient(_Shared):
    """Asynchronous ``Client``; the batches of one call are sent one after the other."""

    def __init__(self, url: str, key: str = "", retries: int = 5, timeout: float = 60) -> None:
        super().__init__(url, key, retries)
        self._http = httpx.AsyncClient(base_url=self.url, headers=self.headers, timeout=timeout, trust_env=self.proxied)

    async def complete_all(self, queries: Sequence[Asked]) -> list[Completion | Scored | Failed]:
        """One answer a query, in order; failed ones are ``Failed``."""
        return [
            answer
            for body in self.batches(queries)
            for answer in _read(await self._send("POST", "/v1/complete", json=body))
        ]

    async def stream(self, queries: Iterable[Asked]) -> AsyncIterator[Answer]:
        """``Client.stream`` as an asynchronous iterator."""
        for unanswered in self.portions(queries):
            while unanswered:
                try:
                    request = self._http.stream("POST", "/v1/complete", json=unanswered.body, headers=LINES)
                    async with request as response:
                        if response.is_success:
                            async for line in response.aiter_lines():
                                yield unanswered.read(line)
                        else:
                            await response.aread()
                except httpx.TransportError as error:
                    response = _unreachable(self.url, error)
                if unanswered:
                    await asyncio.sleep(unanswered.pause(response))

    async def complete(self, query: Asked) -> Completion:
        """The predictions of one query; raises ``QueryFailed``."""
        return _only(await self.complete_all([query]), Completion)

    async def score(self, head: str, relation: str, tail: str) -> Scored:
        """The score of one triple; raises ``QueryFailed``."""
        body = {"triples": [{"head": head, "relation": relation, "tail": tail}]}
        return _only(_read(await self._send("POST", "/v1/score", json=body)), Scored)

    async def entities(self, text: str = "", limit: int = 10) -> list[dict[str, Any]]:
        """Entities whose name matches ``text``: key, name, type, and whether there is a picture."""
        return (await self._send("GET", "/v1/entities", params={"q": text, "limit": limit})).json()["entities"]

    async def entity(self, entity: str, limit: int = 50) -> dict[str, Any]:
        """An entity, given by key or name: its type, description, and ``limit`` of its known triples."""
        return (await self._send("GET", "/v1/entity", params={"entity": entity, "limit": limit})).json()

    async def relations(self) -> list[dict[str, Any]]:
        """All relations: key, name and number of triples."""
        return (await self._send("GET", "/v1/relations")).json()["relations"]

    async def model(self) -> dict[str, Any]:
        """Description of the model."""
        return (await self._send("GET", "/v1/model")).json()

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        for delay in [*self.delays(), None]:
            try:
                response = await self._http.request(method, path, **content)
            except httpx.TransportError as error:
                response = _unreachable(self.url, error)
            if response.status_code not in RETRIED or delay is None:
                return _checked(response)
            await asyncio.sleep(_wait(response, delay))
        raise AssertionError("unreachable")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()


def _json(query: Asked) -> dict[str, Any]:
    return query.model_dump(mode="json", exclude_unset=True) if isinstance(query, Query) else dict(query)


def _read(response: httpx.Response) -> list[Any]:
    return _ANSWERS.validate_json(response.content).answers


def _only(answers: list[Any], kind: type) -> Any:
    (answer,) = answers
    if isinstance(answer, Failed):
        raise QueryFailed(answer.error)
    if not isinstance(answer, kind):
        raise TypeError(f"the query was answered with a {type(answer).__name__}, not a {kind.__name__}")
    return answer


def _unreachable(url: str, error: Exception) -> httpx.Response:
    """A response that is retried like that of a busy server."""
    return httpx.Response(
        503, json={"error": {"message": f"no answer from {url}: {error}"}}, extensions={UNREACHED: True}
    )


def _wait(response: httpx.Response, delay: float) -> float:
    """Seconds to wait: the response's ``retry-after``, but at least ``delay``."""
    asked = response.headers.get("retry-after", "")
    return max(delay, float(asked)) if asked.replace(".", "", 1).isdigit() else delay


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_success:
        return response
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:200]
    if response.extensions.get(UNREACHED):
        raise Unreachable(0, message)
    raise ClientError(response.status_code, f"{response.status_code}: {message}")
