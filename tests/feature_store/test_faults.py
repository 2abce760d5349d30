"""S3 under bad conditions: wrong credentials, no server, and a network that breaks in the middle of a write."""

import os
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage

SERVERS = ["moto", pytest.param("swift", marks=pytest.mark.service("swift"))]


class FlakyProxy(socketserver.ThreadingTCPServer):
    """Passes bytes on to a server; connections in ``breaks`` are reset after so many bytes from the client, those in
    ``cuts`` after so many bytes from the server.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.upstream = urlsplit(endpoint)
        self.breaks: list[int] = []
        self.cuts: list[int] = []
        self.broken = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Connection(socketserver.BaseRequestHandler):
    server: FlakyProxy

    def handle(self) -> None:
        budget = self.server.breaks.pop(0) if self.server.breaks else None
        upstream = socket.create_connection((self.server.upstream.hostname, self.server.upstream.port or 80))
        back = threading.Thread(target=self._answer, args=(upstream,), daemon=True)
        back.start()
        if _pump(self.request, upstream, budget):
            self.server.broken += 1
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close with a reset
        for each in (upstream, self.request):
            each.close()

    def _answer(self, upstream: socket.socket) -> None:
        if _pump(upstream, self.request, self.server.cuts.pop(0) if self.server.cuts else None):
            self.server.broken += 1
            self.request.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket, budget: int | None) -> bool:
    """Copy until the end, or until ``budget`` bytes are through: then ``True``."""
    passed = 0
    try:
        while data := source.recv(65536):
            passed += len(data)
            if budget is not None and passed > budget:
                return True
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    return False


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> str:
    """A store's root at a server of each kind, reached directly."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def proxy(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyProxy]:
    """The same server behind a network that can be broken."""
    with FlakyProxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy
        proxy.shutdown()


def test_writes_survive_a_breaking_network(server: str, proxy: FlakyProxy) -> None:
    storage = open_storage(server)
    storage.files("")
    data = os.urandom(1 << 20) * 12
    # Two parts, of 10 MB and the rest, go up side by side. Every break comes before the end of either; the second may
    # fall on the request before them, which is shorter still
    proxy.breaks = [100, 1_000_000, 0, 2_000_000]
    storage.write("features/part", data)
    assert proxy.broken >= 3
    proxy.breaks = [0, 50, 100]
    assert digests.of_bytes(storage.read("features/part")) == digests.of_bytes(data)
    proxy.breaks = [10, 10]
    digest = storage.put_blob(data[:100_000])
    proxy.breaks = [10, 10]
    assert storage.blob(digest) == data[:100_000]
    proxy.breaks = [10, 10]
    assert {file.path for file in storage.files("")} == {"features/part", f"blobs/{digest[:2]}/{digest}"}


def test_reads_survive_a_network_that_breaks_in_the_middle_of_an_answer(
    server: str, proxy: FlakyProxy, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    data = os.urandom(3_000_000)
    (tmp_path / "folder" / "weights").write_bytes(data)
    storage = open_storage(server)
    uri = storage.publish(tmp_path / "folder", "bundles").uri
    digest = storage.put_blob(data)
    for read in (
        lambda: (open_storage(server).fetch(uri) / "weights").read_bytes(),
        lambda: open_storage(server).blob(digest),
    ):
        proxy.broken, proxy.cuts = 0, [100, 1_000_000, 20_000]
        assert digests.of_bytes(read()) == digest
        assert proxy.broken >= 1


def test_a_write_that_fails_for_good_leaves_nothing(
    server: str, proxy: FlakyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMKGC_PATIENCE_SECONDS", "1")
    storage = open_storage(server)
    storage.files("")
    proxy.breaks = [4_000_000] * 200
    with pytest.raises(UserError, match="the store does not answer"):
        storage.write("features/part", os.urandom(1 << 20) * 12)
    proxy.breaks = []
    assert storage.files("") == []


@pytest.mark.service("swift")
def test_wrong_credentials_are_one_sentence(swift: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    storage = open_storage(swift)
    for attempt in (
        lambda: storage.create("x", b""),
        lambda: storage.write("x", b"x"),
        lambda: storage.read("x"),
        lambda: storage.files(""),
        lambda: storage.put_blob(b"x"),
    ):
        with pytest.raises(UserError, match="credentials"):
            attempt()


def test_no_credentials_and_no_server_are_one_sentence(moto: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="the store does not answer"):
        open_storage(moto).files("")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "none"))
    with pytest.raises(UserError, match="credentials"):
        open_storage(moto).create("x", b"")


def test_a_missing_bucket_is_one_sentence(moto: str) -> None:
    with pytest.raises(UserError, match="has no such bucket — make it"):
        open_storage("s3://no-such-bucket/x").files("")


def test_path_style_reaches_the_bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_S3_PATH_STYLE", "true")
    open_storage(moto).write("x", b"1")
    client = boto3.Session().client("s3", region_name="us-east-1", config=Config(s3={"addressing_style": "path"}))
    key = moto.removeprefix("s3://bucket/") + "/x"
    assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == b"1"
