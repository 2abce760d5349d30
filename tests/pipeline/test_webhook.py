"""MLflow's own server sends its webhook to the gateway when an alias moves."""

import os
import subprocess
import sys
import threading
import time

import httpx
import mlflow
import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.webhook import webhook
from mmkgc.serving.api.gateway.app import Hook, create_app
from mmkgc.serving.api.gateway.hook import MAX_BODY, PATH, is_signed
from mmkgc.serving.api.gateway.settings import own_webhook_secret, webhook_secret
from mmkgc.serving.torchserve.server import free_ports, stop_process
from tests.serving.conftest import served, wait_until_answered

SECRET = "a-secret-of-sixteen"
SIGNED = {
    "x-mlflow-delivery-id": "d-1",
    "x-mlflow-timestamp": "1700000000",
    "x-mlflow-signature": "v1,IQ6zkVomohHueuUPKcDLW3ZdREHIGBJpNUiMWq7F/Ds=",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A real MLflow server, which may send webhooks to this machine."""
    folder = tmp_path_factory.mktemp("mlflow")
    (port,) = free_ports(1)
    variables = {
        "MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http,https",
        "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_WEBHOOK_CACHE_TTL": "0",
        "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    options = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--port", str(port), "--workers", "1"]
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", *options]
        process = subprocess.Popen(command, env=os.environ | variables, stdout=log, stderr=log)
    wait_until_answered(f"http://127.0.0.1:{port}/health")
    yield f"http://127.0.0.1:{port}"
    stop_process(process)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MMKGC_WEBHOOK_SECRET", raising=False)
    return tmp_path


class Nobody:
    """A model that is not asked."""

    async def ask(self, body):
        raise AssertionError

    async def close(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.service("mlflow")
def test_a_moved_alias_is_told_at_once(server, home, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    moved = threading.Event()
    with served(create_app(Nobody(), ["0123456789abcdef"], hook=Hook(own_webhook_secret(), moved.set))) as url:
        added = CliRunner().invoke(webhook, ["add", url])
        assert (added.exit_code, added.output) == (0, f"mmkgc  {url}{PATH}\na test message arrived\n")
        assert moved.wait(1)
        moved.clear()
        client = mlflow.MlflowClient(server)
        client.create_registered_model("toy")
        for number in (1, 2):
            client.create_model_version("toy", "s3://bucket/model")
            begun = time.monotonic()
            client.set_registered_model_alias("toy", "champion", number)
            assert moved.wait(10), "no message"
            moved.clear()
            assert time.monotonic() - begun < 4  # before the next look at the registry

        monkeypatch.setenv("MMKGC_WEBHOOK_SECRET", SECRET)  # another one than the gateway has
        refused = CliRunner().invoke(webhook, ["add", url])
        assert refused.exit_code == 1
        assert "401" in refused.output
        assert not moved.is_set()
        assert CliRunner().invoke(webhook, ["list"]).output == f"mmkgc  {url}{PATH}  ACTIVE\n"  # changed, not doubled
        assert CliRunner().invoke(webhook, ["remove"]).output == "mmkgc removed\n"
        assert "no such webhook" in str(CliRunner().invoke(webhook, ["test"]).exception)


def test_only_signed_and_fresh_messages_are_taken():
    body, now = b'{"data":{}}', 1700000000.0
    assert is_signed(SIGNED, body, SECRET, now + 299)
    assert not is_signed(SIGNED, body, SECRET, now + 301)
    assert not is_signed(SIGNED, body, SECRET, now - 301)
    assert not is_signed(SIGNED, body + b" ", SECRET, now)
    assert not is_signed(SIGNED, body, SECRET + "x", now)
    assert not is_signed(SIGNED | {"x-mlflow-timestamp": "1700000001"}, body, SECRET, now)
    assert not is_signed(SIGNED | {"x-mlflow-timestamp": "now"}, body, SECRET, now)
    assert not is_signed(SIGNED | {"x-mlflow-signature": "é"}, body, SECRET, now)
    assert not is_signed({}, body, SECRET, now)


def test_the_signature_is_mlflows():
    from mlflow.webhooks.delivery import _generate_hmac_signature

    made = _generate_hmac_signature(SECRET, "d-1", "1700000000", '{"data":{}}')
    assert is_signed(SIGNED | {"x-mlflow-signature": made}, b'{"data":{}}', SECRET, 1700000000)


def test_the_route_needs_a_signature_instead_of_a_key(home):
    moved = threading.Event()
    with served(create_app(Nobody(), ["0123456789abcdef"], hook=Hook(SECRET, moved.set))) as url:
        key = {"authorization": "Bearer 0123456789abcdef"}
        assert httpx.post(url + PATH, content=b"{}").status_code == 401
        assert httpx.post(url + PATH, content=b"{}", headers=key).status_code == 401
        assert httpx.post(url + PATH, content=b"x" * (MAX_BODY + 1), headers=SIGNED).status_code == 413
    assert not moved.is_set()
    with served(create_app(Nobody(), ["0123456789abcdef"])) as url:
        assert httpx.post(url + PATH, content=b"{}", headers=SIGNED).status_code == 401  # there is no such route


def test_the_secret_is_made_once_and_a_short_one_is_refused(home, monkeypatch):
    assert webhook_secret() is None
    secret = own_webhook_secret()
    assert secret == webhook_secret() == own_webhook_secret()
    assert (home / "webhook-secret").stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("MMKGC_WEBHOOK_SECRET", "short")
    with pytest.raises(UserError, match="shorter than 16"):
        webhook_secret()


def test_without_an_mlflow_server_there_is_nothing_to_do(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = CliRunner().invoke(webhook, ["list"])
    assert isinstance(found.exception, UserError)
    assert "looks at it every five seconds" in str(found.exception)
