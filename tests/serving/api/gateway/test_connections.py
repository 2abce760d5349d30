"""Clients that are slow, many, or say too much, against a real server."""

import contextlib
import socket
import time

import httpx
import pytest

from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.connections import MAX_HEADER_BYTES, MAX_HEADERS
from mmkgc.serving.api.gateway.settings import Limits

KEY = "0123456789abcdef"
LIMITS = Limits(max_connections=30, header_seconds=0.5, body_seconds=1.0)


@pytest.fixture(scope="module")
def url(engine_model, serve):
    with serve(create_app(engine_model, [KEY], LIMITS), LIMITS) as url:
        yield url


@pytest.fixture
def connect(url):
    with contextlib.ExitStack() as stack:

        def connected() -> socket.socket:
            address = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
            return stack.enter_context(socket.create_connection(address, timeout=10))

        yield connected


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes; it has ten seconds for that."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            received += part
    return received


@pytest.mark.parametrize("begin", [b"", b"GET", b"GET / HTTP/1.1\r\nhost: x\r\n", b"\r\n\r\n"])
def test_a_request_that_is_not_completed_ends(connect, begin):
    connection = connect()
    connection.sendall(begin)
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the request did not come within 0.5 s" in answer


def test_headers_that_drip_end_as_well(connect):
    connection = connect()
    begun = time.monotonic()
    connection.sendall(b"GET / HTTP/1.1\r\n")
    with contextlib.suppress(ConnectionError):
        while time.monotonic() - begun < 8:
            connection.sendall(b"x: y\r\n")
            time.sleep(0.05)
    assert time.monotonic() - begun < 5


def test_a_body_that_is_not_completed_ends(connect):
    connection = connect()
    head = f"POST /v1/complete HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: 99\r\n\r\n"
    connection.sendall(head.encode())
    assert b" 408 " in everything(connection)


def test_a_second_request_has_to_be_completed_too(connect):
    connection = connect()
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nGET /heal")
    assert everything(connection).count(b"HTTP/1.1") == 2


@pytest.mark.parametrize(
    "headers",
    [
        b"x: " + b"y" * 1_000_000,
        b"x" * 1_000_000,
        b"".join(b"x%d: y\r\n" % number for number in range(MAX_HEADERS + 1)) + b"\r\n",
        b"".join(b"x%d: %b\r\n" % (number, b"y" * 1000) for number in range(MAX_HEADER_BYTES // 1000 + 1)) + b"\r\n",
    ],
)
def test_headers_that_are_too_long_or_many_are_refused(connect, headers):
    connection = connect()
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n" + headers)
    assert not everything(connection).startswith(b"HTTP/1.1 200")


def test_a_long_address_is_refused(connect):
    connection = connect()
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"GET /" + b"x" * 1_000_000)
    assert not everything(connection).startswith(b"HTTP/1.1 200")


def test_a_request_without_a_key_is_answered_before_its_body_is_there(connect):
    connection = connect()
    connection.sendall(b"POST /v1/complete HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n")
    begun = time.monotonic()
    assert everything(connection).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - begun < 0.5


def test_half_open_connections_leave_room_for_others(url, connect):
    idle = [connect() for _ in range(60)]
    answers = [everything(one).split(b" ", 2)[1] for one in idle]
    assert set(answers) == {b"503", b"408"}  # refused at once, or out of time
    assert 25 <= answers.count(b"503") <= 35
    assert httpx.get(f"{url}/healthz").status_code == 200


def test_ordinary_clients_keep_their_connection(url):
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        for _ in range(3):
            query = {"head": "e1", "relation": "r1"}
            assert client.post("/v1/complete", json={"queries": [query] * 1000}).status_code == 200
            assert client.get("/v1/model").status_code == 200
            time.sleep(0.6)  # longer than headers may take
