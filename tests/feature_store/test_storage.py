import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage, StorageConfig


def test_bytes_come_back(storage: Storage) -> None:
    storage.write("a/b", b"one")
    storage.write("a/b", b"two")
    assert storage.read("a/b") == b"two"
    assert storage.path(storage.uri("a/b")) == "a/b"
    assert [(file.path, file.bytes) for file in storage.files("a/")] == [("a/b", 3)]
    assert abs(storage.files("a/")[0].modified - time.time()) < 100
    storage.delete("a/b")
    storage.delete("a/b")
    assert storage.files("") == []
    with pytest.raises(FileNotFoundError):
        storage.read("a/b")


def test_files_are_found_by_prefix(storage: Storage) -> None:
    for path in ("x/part-1", "x/part-2", "x/manifest-1", "xy/part-3"):
        storage.write(path, b"")
    assert [file.path for file in storage.files("x/part-")] == ["x/part-1", "x/part-2"]
    assert len(storage.files("x/")) == 3


def test_large_files_go_in_several_parts(storage: Storage) -> None:
    data = os.urandom(1 << 20) * 25
    storage.write("large", data)
    assert digests.of_bytes(storage.read("large")) == digests.of_bytes(data)


def test_a_blob_that_is_gone_is_told_with_the_mend(storage: Storage) -> None:
    with pytest.raises(UserError, match="is not in the store any more — run with --no-cache"):
        storage.blob(digests.of_bytes(b"gone"))


def test_blobs_are_stored_once(storage: Storage) -> None:
    digest = storage.put_blob(b"flag")
    assert storage.put_blob(b"flag") == digest == digests.of_bytes(b"flag")
    assert storage.blob(digest) == b"flag"
    assert len(storage.files("blobs/")) == 1


def test_folders_are_published_under_their_digest(storage: Storage, tmp_path: Path) -> None:
    folder = tmp_path / "graph"
    (folder / "sub").mkdir(parents=True)
    (folder / "graph.json").write_text("{}")
    (folder / "sub" / "triples").write_text("a b c")
    stored = storage.publish(folder, "graphs")
    assert storage.publish(folder, "graphs") == stored
    assert stored.uri.endswith(f"/graphs/{stored.digest}")
    for _ in range(2):
        fetched = storage.fetch(stored.uri)
        assert digests.of_folder(fetched) == stored.digest == fetched.name
    with pytest.raises(UserError, match="not in the store"):
        storage.fetch(storage.uri("graphs/" + "0" * 64))
    with pytest.raises(UserError, match="set MMKGC_STORAGE"):
        storage.path("s3://elsewhere/graphs/1")


def test_changed_folders_are_refused(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "graph").mkdir()
    (tmp_path / "graph" / "graph.json").write_text("{}")
    stored = storage.publish(tmp_path / "graph", "graphs")
    storage.write(f"{storage.path(stored.uri)}/graph.json", b"[]")
    with pytest.raises(UserError, match="changed after it was stored"):
        storage.fetch(stored.uri)


def test_create_never_overwrites(storage: Storage) -> None:
    assert storage.create("commit", b"first")
    assert not storage.create("commit", b"second")
    assert storage.read("commit") == b"first"
    assert [file.path for file in storage.files("")] == ["commit"]


def test_of_racing_processes_one_creates(storage: Storage) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    for attempt in range(3):
        with context.Pool(2, _arm, (start,)) as pool:
            won = pool.starmap(_create, [(storage.root, f"commit-{attempt}", name) for name in ("one", "two")], 1)
        assert sorted(won) == ["", storage.read(f"commit-{attempt}").decode()]


def _arm(start: object) -> None:
    globals()["START"] = start


def _create(root: str, path: str, name: str) -> str:
    storage = open_storage(root)
    storage.files("")
    globals()["START"].wait(60)
    return name if storage.create(path, name.encode()) else ""


KILLED = """
import sys, time
from mmkgc.feature_store.opening import open_storage
storage = open_storage(sys.argv[1])
storage.write("whole", b"x")
print("writing", flush=True)
while True:
    storage.write("torn", b"x" * 60_000_000)
    storage.delete("torn")
"""


def test_a_killed_writer_leaves_nothing_torn(storage: Storage) -> None:
    for delay in (0.01, 0.05, 0.2):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, storage.root], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        sizes = {file.path: file.bytes for file in storage.files("")}
        assert sizes.pop("whole") == 1
        assert sizes in ({}, {"torn": 60_000_000})
        storage.delete("torn")


def test_the_environment_says_where_the_store_is(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    assert open_storage().root == str(home / "store")
    assert open_storage(f"file://{home}/other").root == str(home / "other")
    monkeypatch.setenv("MMKGC_STORAGE", "s3://lake/mmkgc")
    config = StorageConfig.from_env()
    assert (config.endpoint, config.region, config.addresses_by_path) == (None, "us-east-1", False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio:9000")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    config = StorageConfig.from_env()
    assert (config.endpoint, config.region, config.addresses_by_path) == ("http://minio:9000", "eu-north-1", True)
    monkeypatch.setenv("MMKGC_S3_PATH_STYLE", "false")
    assert not StorageConfig.from_env().addresses_by_path
    assert open_storage().root == "s3://lake/mmkgc"


@pytest.mark.parametrize("root", ["gs://bucket/prefix", "hdfs://name/x", "https://host/x", "gs:/bucket", "s3:/bucket"])
def test_a_store_of_another_kind_is_refused_with_those_that_there_are(root: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MMKGC_STORAGE", root)
    with pytest.raises(UserError, match=f"no store of the kind '{root.partition(':')[0]}' — give a folder, .*s3://"):
        open_storage()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"MMKGC_STORAGE": "s3://"}, "MMKGC_STORAGE s3://: '' is no bucket — write s3://BUCKET/PREFIX"),
        ({"MMKGC_STORAGE": "s3://a bucket!/x"}, "'a bucket!' is no bucket"),
        ({"MMKGC_STORAGE": "file://relative/x"}, "this names no path of this machine — write file:///PATH"),
        ({"AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL 127.0.0.1:9000: this is no HTTP URL"),
        (
            {"AWS_ENDPOINT_URL": "http://me:secret@[::1"},
            r"AWS_ENDPOINT_URL http://me:\*\*\*@\[::1: this is no HTTP URL",
        ),
    ],
)
def test_malformed_names_of_a_store_are_refused_before_it_is_asked(variables: dict, sentence: str, monkeypatch) -> None:
    for name, value in ({"MMKGC_STORAGE": "s3://bucket/x"} | variables).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=sentence):
        open_storage()


def test_empty_variables_say_nothing_of_a_store(tmp_path: Path, monkeypatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "MMKGC_S3_PATH_STYLE"):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    assert StorageConfig.from_env("s3://bucket") == StorageConfig("s3://bucket", None, "us-east-1", None)
