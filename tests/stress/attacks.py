"""The attacks of ``gateway.py``; each takes the gateway, and whether to be short, and tells how often it tried."""

import contextlib
import json
import random
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
from victim import ATTACKER, Victim

PLAIN = {"head": "e1", "relation": "r1"}


def explained(victim: Victim, short: bool) -> int:
    """1,024 explained queries in a request; then as many as permitted, by four clients"""
    query = PLAIN | {"explain": True, "k": 20}
    assert victim.post({"queries": [query] * 1024}) == 413
    return 1 + together(victim, 4, lambda _: {"queries": [query] * 761})


def explained_deeply(victim: Victim, short: bool) -> int:
    """explained queries for 1,000 predictions each, as many as permitted, by four clients"""
    return together(victim, 4, lambda _: {"queries": [PLAIN | {"explain": True, "k": 1000}] * 15})


def texts(victim: Victim, short: bool) -> int:
    """256 texts of 10,000 characters in a request; then as many as permitted, by two clients"""
    query = {"head": {"text": "a town by a river " * 550}, "relation": "r1"}
    assert victim.post({"queries": [query] * 256}) == 413
    return 1 + together(victim, 2, lambda _: {"queries": [query] * 125})


def pictures(victim: Victim, short: bool) -> int:
    """64 pictures of 25 megapixels in a request; then as many as permitted, by two clients"""
    query = {"head": {"image": picture(5000)}, "relation": "r1"}
    assert victim.post({"queries": [query] * 64}) == 413
    return 1 + together(victim, 2, lambda _: {"queries": [query] * 15})


def long_answers(victim: Victim, short: bool) -> int:
    """1,024 queries for 1,000 predictions in a request, by four clients"""
    return together(victim, 4, lambda _: {"queries": [PLAIN | {"k": 1000}] * 1024})


def unknown_names(victim: Victim, short: bool) -> int:
    """1,024 unknown names of 500 characters in a request, by two clients"""
    return together(
        victim, 2, lambda i: {"queries": [{"head": f"{n} {i} " * 50, "relation": "r1"} for n in range(1024)]}
    )


def large_bodies(victim: Victim, short: bool) -> int:
    """five requests of 15 MB at once, four times"""
    body = json.dumps({"queries": [PLAIN | {"type": "x" * 7_000_000}] * 2}).encode()
    return sum(together(victim, 5, lambda _: body) for _ in range(1 if short else 4))


def many_values(victim: Victim, short: bool) -> int:
    """16 MB of `[],[],…` without a key and with one"""
    body = b"[" + b"[]," * 5_300_000 + b"[]]"
    count = 2 if short else 8
    refused = [victim.post(body, key) for key in (None, "wrong-key-0123456", ATTACKER) for _ in range(count)]
    assert set(refused) <= {0, 401, 413}
    return len(refused)


def header_floods(victim: Victim, short: bool) -> int:
    """headers of 10 MB, 100,000 headers, an address of 10 MB"""
    heads = (b"x: " + b"y" * 10_000_000, b"x: y\r\n" * 100_000, b"x" * 10_000_000)
    count = 2 if short else 10
    for head in heads * count:
        raw(victim, b"GET /healthz HTTP/1.1\r\n" + head + b"\r\n\r\n")
    for _ in range(count):
        raw(victim, b"GET /" + b"x" * 10_000_000 + b" HTTP/1.1\r\n\r\n")
    return 4 * count


def slow_clients(victim: Victim, short: bool) -> int:
    """300 clients that send a byte every half second, of headers and of bodies"""
    lines = (
        "POST /v1/complete HTTP/1.1",
        "host: x",
        f"authorization: Bearer {ATTACKER}",
        "content-length: 500",
        "",
        "",
    )
    head = "\r\n".join(lines).encode()
    clients = [victim.connect() for _ in range(300)]
    for number, client in enumerate(clients):
        client.sendall(head if number % 2 else b"GET / HTTP/1.1\r\n")
    return dripped(clients, 10)


def half_open(victim: Victim, short: bool) -> int:
    """1,500 idle connections, opened one after the other for ten seconds"""
    clients: list[socket.socket] = []
    tried, end = 0, time.monotonic() + (4 if short else 10)
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            clients.append(victim.connect())
        tried += 1
        if len(clients) > 1500:
            clients.pop(0).close()
        time.sleep(0.002)
    for client in clients:
        client.close()
    return tried


def readiness(victim: Victim, short: bool) -> int:
    """/readyz without a key, by 16 clients"""
    count = 200 if short else 2000
    with ThreadPoolExecutor(16) as pool, httpx.Client(timeout=30) as client:
        victim.statuses.update(pool.map(lambda _: client.get(f"{victim.url}/readyz").status_code, range(count)))
    return count


def guessed_keys(victim: Victim, short: bool) -> int:
    """keys as an accident may produce them: none, blanks, `{}`, NUL, parts of a real one"""
    keys = ["", "{}", "[]", "null", "None", "x", ATTACKER[:-1], ATTACKER + "x", "0" * 16, ATTACKER.upper()]
    raws = [
        f"GET /v1/model HTTP/1.1\r\nhost: x\r\nauthorization: {form}\r\n\r\n"
        for key in keys
        for form in (f"Bearer {key}", f"bearer  {key}", f"Basic {key}", key)
    ]
    answers = [raw(victim, one.encode(), wait=True) for one in raws]
    assert all(b" 401 " in answer.split(b"\r\n")[0] for answer in answers), answers
    return len(answers)


def fuzz(victim: Victim, short: bool) -> int:
    """bodies of a valid request with bytes changed, doubled and left out, and whole random ones"""
    rng = random.Random(0)
    valid = json.dumps(
        {"queries": [PLAIN | {"k": 3, "candidates": ["e2"], "explain": True}, {"head": {"text": "x"}}]}
    ).encode()
    count = 300 if short else 2000
    for _ in range(count):
        body = bytearray(valid if rng.random() < 0.9 else rng.randbytes(rng.randint(0, 300)))
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(body) + 1)
            body[place : place + rng.randint(0, 3)] = rng.choice(
                [rng.randbytes(1), b'"', b"{", b"[", b"\\u0000", b"1e999", b"null"]
            )
        victim.post(bytes(body))
    return count


ATTACKS = (
    explained,
    explained_deeply,
    texts,
    pictures,
    long_answers,
    unknown_names,
    large_bodies,
    many_values,
    header_floods,
    slow_clients,
    half_open,
    readiness,
    guessed_keys,
    fuzz,
)
WITH_ENCODERS = (texts, pictures)


def together(victim: Victim, clients: int, body: Callable[[int], Any]) -> int:
    """So many requests at once."""
    with ThreadPoolExecutor(clients) as pool:
        return len(list(pool.map(lambda number: victim.post(body(number)), range(clients))))


def raw(victim: Victim, content: bytes, wait: bool = False) -> bytes:
    """Send bytes; what comes back first."""
    answer = b""
    with contextlib.suppress(OSError), victim.connect() as connection:
        connection.sendall(content)
        connection.settimeout(10 if wait else 1)
        answer = connection.recv(4096)
    return answer


def dripped(clients: list[socket.socket], seconds: float) -> int:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for client in clients:
            with contextlib.suppress(OSError):
                client.send(b"x")
        time.sleep(0.5)
    still = sum(not _ended(client) for client in clients)
    for client in clients:
        client.close()
    assert still == 0, f"{still} slow clients are still connected"
    return len(clients)


def _ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        while client.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def picture(side: int) -> str:
    from PIL import Image

    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return b64encode(file.getvalue()).decode()
