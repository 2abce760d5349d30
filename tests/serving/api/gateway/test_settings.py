"""API keys: where they come from, and that none can be guessed."""

import os
import re
import socket

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.gateway.__main__ import main
from mmkgc.serving.api.gateway.access import Access
from mmkgc.serving.api.gateway.refusal import Refusal
from mmkgc.serving.api.gateway.settings import own_keys, read_keys

KEY = "0123456789abcdef"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    for name in ("MMKGC_API_KEYS_FILE", "MMKGC_API_KEYS"):
        monkeypatch.delenv(name, raising=False)


def test_keys_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"{KEY}\n\nanother-key-of-16\n")
    monkeypatch.setenv("MMKGC_API_KEYS_FILE", str(tmp_path / "keys"))
    assert read_keys() == own_keys() == [KEY, "another-key-of-16"]
    monkeypatch.delenv("MMKGC_API_KEYS_FILE")
    monkeypatch.setenv("MMKGC_API_KEYS", f"{KEY},another-key-of-16")
    assert read_keys() == own_keys() == [KEY, "another-key-of-16"]
    monkeypatch.setenv("MMKGC_API_KEYS", "short")
    with pytest.raises(UserError, match="shorter than 16"):
        read_keys()
    monkeypatch.delenv("MMKGC_API_KEYS")
    with pytest.raises(UserError, match="no API key"):
        read_keys()


def test_the_own_key_is_made_once_and_private(tmp_path):
    (key,) = own_keys()
    assert own_keys() == [key]
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert (tmp_path / "api-key").stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["api-key"]


@pytest.mark.parametrize("content", [b"", b"\n", b"   \n", b"{}", b"\0", b"short", b"\xff\xfe"])
def test_a_file_without_a_whole_key_opens_nothing(tmp_path, content, monkeypatch):
    """A full disk once left 0 bytes, and ``Authorization: Bearer `` was let in."""
    (tmp_path / "api-key").write_bytes(content)
    with pytest.raises(UserError, match="delete the file"):
        own_keys()
    monkeypatch.setenv("MMKGC_API_KEYS_FILE", str(tmp_path / "api-key"))
    with pytest.raises(UserError, match="openssl"):
        own_keys()


def test_a_key_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_API_KEYS_FILE", str(tmp_path / "absent"))
    with pytest.raises(UserError, match="absent"):
        read_keys()


def test_a_disk_that_is_full_leaves_no_key(tmp_path, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        own_keys()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keys", [[""], ["{}"], [KEY, "short"]])
def test_no_gateway_is_made_with_a_key_that_can_be_guessed(keys):
    with pytest.raises(ValueError, match="fewer than 16"):
        Access(keys, 1, 1)


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer ", b"Bearer  ", b"Bearer \0", KEY.encode(), b"Basic " + KEY.encode()]
)
def test_what_is_no_key_is_not_found(header):
    access = Access([KEY, "another-key-of-16"], 1, 1)
    assert access.find(header) is None
    assert access.find(b"bearer another-key-of-16") == 1


def test_keys_of_a_file_are_changed_while_the_gateway_runs(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("mmkgc.serving.api.gateway.access.REREAD_SECONDS", 0)
    file = tmp_path / "keys"
    monkeypatch.setenv("MMKGC_API_KEYS_FILE", str(file))
    file.write_text(KEY)
    access = Access(read_keys(), 0.001, 10)
    access.spend(0, 10)
    file.write_text(f"a-new-key-of-sixteen\n{KEY}\n")  # both hold while clients change over
    assert access.find(f"Bearer {KEY}".encode()) == 0
    new = access.find(b"Bearer a-new-key-of-sixteen")
    assert new == 1
    access.spend(new, 10)
    with pytest.raises(Refusal, match="queries/s"):
        access.spend(0, 1)  # its quota is used up, as before
    file.write_text("short")
    with caplog.at_level("WARNING", "mmkgc.gateway"):
        assert access.find(b"Bearer short") is None
    assert access.find(f"Bearer {KEY}".encode()) == 0
    assert caplog.text.count("stay as they were") <= 1  # the log of the gateway may not propagate
    file.write_text("a-new-key-of-sixteen")
    assert access.find(f"Bearer {KEY}".encode()) is None
    assert access.find(b"Bearer a-new-key-of-sixteen") == 1


UPSTREAM = "MMKGC_GATEWAY_UPSTREAM"


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("MMKGC_API_KEYS", "{}", "gateway: MMKGC_API_KEYS: an API key is shorter than 16 characters"),
        (UPSTREAM, "", "gateway: MMKGC_GATEWAY_UPSTREAM: it is not set, so there is no model to ask"),
        (UPSTREAM, "model:8080", "gateway: MMKGC_GATEWAY_UPSTREAM=model:8080: this is not an HTTP URL"),
        (UPSTREAM, "http://me:secret@[::1/x", "gateway: MMKGC_GATEWAY_UPSTREAM=http://me:***@[::1/x: this is not"),
        ("MMKGC_GATEWAY_TIMEOUT", "soon", "gateway: MMKGC_GATEWAY_TIMEOUT=soon: Input should be a valid number"),
        ("MMKGC_GATEWAY_MAX_BODY", "0", "gateway: MMKGC_GATEWAY_MAX_BODY=0: Input should be greater than 0"),
        ("MMKGC_GATEWAY_PROPOSALS", "/absent", "gateway: /absent: this is no file of proposals"),
    ],
)
def test_the_gateway_by_itself_says_in_one_sentence_why_it_does_not_start(monkeypatch, variable, value, sentence):
    monkeypatch.setenv(UPSTREAM, "http://127.0.0.1:1")
    monkeypatch.setenv("MMKGC_API_KEYS", KEY)
    monkeypatch.setenv(variable, value)
    refused = CliRunner().invoke(main, [])
    assert refused.exit_code == 2
    assert refused.output.startswith(sentence)
    assert refused.output.count("\n") == 1


def test_the_gateway_by_itself_says_that_its_port_is_taken(monkeypatch):
    monkeypatch.setenv(UPSTREAM, "http://127.0.0.1:1")
    monkeypatch.setenv("MMKGC_API_KEYS", KEY)
    with socket.create_server(("127.0.0.1", 0)) as other:
        refused = CliRunner().invoke(main, ["--host", "127.0.0.1", "--port", str(other.getsockname()[1])])
    assert refused.exit_code == 2
    assert "another program listens on this port" in refused.output
