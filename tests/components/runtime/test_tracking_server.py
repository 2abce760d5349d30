"""An MLflow that cannot be used is told within seconds, in one sentence, without its password."""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.tracking_server import check_server


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "7")
    check_server.cache_clear()
    yield
    check_server.cache_clear()


@pytest.fixture
def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def answering():
    """The URL of a server that answers everything with one status."""
    servers = []

    def serve(status):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            do_POST = do_GET

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("uri", ["http://me:secret@127.0.0.1:{}", "postgresql+psycopg://me:secret@127.0.0.1:{}/mlflow"])
def test_a_server_that_is_away(uri, closed_port, monkeypatch):
    import mlflow  # noqa: F401  # its import is no part of the time

    begun = time.monotonic()
    with pytest.raises(UserError, match=r"me:\*\*\*@.*no answer .*refused.*check MLFLOW_TRACKING_URI") as refusal:
        check_server(uri.format(closed_port))
    assert time.monotonic() - begun < 10
    assert "secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("status", "told"), [(401, "refuses these credentials"), (404, "no MLflow")])
def test_a_server_that_refuses(answering, status, told):
    with pytest.raises(UserError, match=f"{told} .HTTP {status}"):
        check_server(answering(status))


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("ftp://host/x", "no MLflow store of the kind 'ftp'"),
        ("sqllite:///x.db", "no MLflow store of the kind 'sqllite'"),
        ("sqlite:////tmp", "this is a folder"),
        ("sqlite://", "database in memory"),
        ("sqlite:///:memory:", "database in memory"),
        ("mysql+nodriver://me:secret@127.0.0.1:1/x", "nodriver"),
    ],
)
def test_a_store_that_mlflow_could_not_use_is_told_with_the_cause(uri, told):
    with pytest.raises(UserError, match=told) as refusal:
        check_server(uri)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("uri", ["./mlruns", "/tmp/mlruns", "file:///tmp/mlruns", "http://["])
def test_what_is_no_store_of_runs(uri):
    with pytest.raises(UserError, match=r"give http\(s\)://HOST:PORT, .*sqlite"):
        check_server(uri)


@pytest.mark.parametrize(
    "uri", ["sqlite:///x.db", "sqlite+pysqlite:////tmp/%3F.db", "databricks", "databricks://profile"]
)
def test_what_mlflow_opens_by_itself(uri):
    check_server(uri)
