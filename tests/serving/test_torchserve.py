"""A real TorchServe: started, asked in each of its protocols, and stopped."""

import contextlib
import json
import os
import socket
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.torchserve.archive import write_archive
from mmkgc.serving.torchserve.java import bundled_java, find_java, version_of
from mmkgc.serving.torchserve.meter import SECONDS
from mmkgc.serving.torchserve.server import START_SECONDS, ServerError, TorchServe

QUERIES = [
    {"head": "e1", "relation": "r1", "k": 3},
    {"relation": "Relation 2", "tail": "entity 5", "exclude_known": False},
    {"head": "e1", "tail": "e2", "explain": True},
    {"head": "nobody", "relation": "r1"},
    {"head": "e1", "relation": "r3", "tail": "e4"},
]


def test_java_is_found_and_new_enough():
    assert (version_of(find_java()) or 0) >= 11
    assert (version_of(bundled_java()) or 0) >= 11
    assert version_of(Path("/bin/false")) is None


def test_a_path_of_any_letters_is_written_so_that_java_reads_it(tmp_path):
    """In the locale C, which many containers set, Java would open no such path: it is started in another."""
    folder = tmp_path / "a 50%41 ?x=y'知"
    folder.mkdir()
    write_archive(folder / "m.mar", {}, "m", "1", {})
    server = TorchServe(folder / "m.mar")
    try:
        lines = server._properties().encode("ascii").decode().splitlines()
        assert lines[lines.index("load_models=m.mar") - 1] == f"model_store={tmp_path}/a 50%41 ?x=y'\\u77e5"
        assert server._environment()["LC_ALL"] == "C.UTF-8"
    finally:
        server.stop()


def test_predictions_equal_the_engines(torchserve, engine, near):
    answer = (
        httpx.post(torchserve.predictions_url, headers=torchserve.headers, json={"queries": QUERIES})
        .raise_for_status()
        .json()
    )
    assert answer == {"model": {"name": "mmkgc", "version": "v1"}, "answers": near(engine.answer(QUERIES))}


def test_open_inference_protocol_and_its_errors(torchserve, engine, near):
    tensor = {"name": "queries", "shape": [5], "datatype": "BYTES", "data": [json.dumps(query) for query in QUERIES]}
    url = f"{torchserve.url}/v2/models/mmkgc/infer"
    answer = httpx.post(url, headers=torchserve.headers, json={"id": "7", "inputs": [tensor]}).raise_for_status().json()
    (output,) = answer["outputs"]
    assert (answer["id"], answer["model_version"], output["shape"]) == ("7", "v1", [5])
    assert [json.loads(text) for text in output["data"]] == near(engine.answer(QUERIES))
    assert httpx.post(url, headers=torchserve.headers, json={"inputs": [tensor | {"data": ["{"]}]}).status_code == 400


def test_concurrent_requests_are_batched_and_each_gets_its_own_answer(torchserve, engine, near):
    queries = [{"head": f"e{index}", "relation": "r1", "k": 2} for index in range(1, 7)] * 8
    with httpx.Client(headers=torchserve.headers) as client, ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda q: client.post(torchserve.predictions_url, json={"queries": [q]}).json(), queries))
    assert [answer["answers"][0] for answer in found] == near(engine.answer(queries))


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"queries": 3}', b'{"operation": "drop"}', b"\xff\xfe"])
def test_a_bad_request_is_refused_and_harms_nobody(torchserve, body):
    headers = torchserve.headers | {"content-type": "application/json"}
    answer = httpx.post(torchserve.predictions_url, content=body, headers=headers)
    assert answer.status_code == 400
    assert (
        httpx.post(torchserve.predictions_url, headers=torchserve.headers, json={"queries": QUERIES[:1]}).status_code
        == 200
    )


def test_metrics_count_queries_by_direction_status_and_version(torchserve):
    httpx.post(torchserve.predictions_url, headers=torchserve.headers, json={"queries": QUERIES})
    time.sleep(3 * SECONDS)
    text = httpx.get(torchserve.metrics_url).text
    assert 'mmkgc_queries_total{direction="tail",status="ok",model_version="v1"' in text
    assert 'status="unknown_entity"' in text
    assert 'mmkgc_stage_seconds_count{stage="score"' in text


def test_other_users_of_the_machine_can_neither_ask_nor_manage(torchserve):
    """They can connect to loopback, but cannot read the folder with the tokens."""
    assert oct(torchserve.folder.stat().st_mode & 0o777) == "0o700"
    for path in (
        "/models",
        "/models?url=http://127.0.0.1:1/x.mar",
        "/predictions/mmkgc",
        "/v2/models/mmkgc/infer",
        "/ping",
    ):
        for headers in ({}, {"authorization": "Bearer x y"}, {"authorization": "Bearer wrong"}):
            assert httpx.post(f"{torchserve.url}{path}", headers=headers, json={"queries": []}).status_code == 400
    assert (
        httpx.get(f"{torchserve.url}/models", headers=torchserve.headers).status_code >= 400
    )  # not served on this port
    assert torchserve.token not in torchserve.log.read_text()


@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("management.ManagementAPIsService", "ScaleWorker"),
        ("management.ManagementAPIsService", "DescribeModel"),
        ("management.ManagementAPIsService", "RegisterModel"),
        ("management.ManagementAPIsService", "UnregisterModel"),
        ("inference.InferenceAPIsService", "Predictions"),
    ],
)
def test_grpc_is_closed_to_other_users_and_management_to_the_inference_token(torchserve, service, call):
    managing = service.startswith("management")
    port = torchserve.grpc_management_port if managing else torchserve.grpc_port
    tokens = [[], [("authorization", "Bearer wrong")]]
    if managing:
        tokens.append([("authorization", torchserve.headers["authorization"])])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for metadata in tokens:
            with pytest.raises(grpc.RpcError) as refused:
                channel.unary_unary(f"/org.pytorch.serve.grpc.{service}/{call}")(
                    b"\n\x05mmkgc", metadata=metadata, timeout=20
                )
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_killed_worker_comes_back(torchserve):
    os.kill(torchserve.worker_pids()[0], 9)
    with httpx.Client(timeout=20, headers=torchserve.headers) as client:
        statuses = {
            client.post(torchserve.predictions_url, json={"queries": QUERIES[:1]}).status_code for _ in range(40)
        }
    assert statuses <= {200, 503, 507}
    assert 200 in statuses


def test_an_archive_that_does_not_load_says_why(tmp_path):
    broken = tmp_path / "bundle.json"
    broken.write_text('{"format": 99}')
    archive = tmp_path / "broken.mar"
    write_archive(archive, {"bundle.json": broken, "vocabulary.json": broken}, "broken", "v1", {})
    server = TorchServe(archive, workers=1, java=bundled_java())
    with pytest.raises(ServerError, match="bundle format 99 is not"):
        server.start()
    assert not server.folder.exists()
    assert server.process is not None
    assert server.process.poll() is not None


def test_an_archive_that_torchserve_does_not_find_is_told_at_once(tmp_path):
    archive = tmp_path / "gone.mar"
    write_archive(archive, {}, "gone", "v1", {})
    server = TorchServe(archive, workers=1, java=bundled_java())
    archive.unlink()
    begun = time.monotonic()
    with pytest.raises(ServerError, match="the model's archive was not loaded"):
        server.start()
    assert time.monotonic() - begun < START_SECONDS / 2


@pytest.mark.parametrize("content", [None, b"", b"PK", b"{}"])
def test_what_is_no_archive_is_refused_in_one_sentence(tmp_path, content):
    archive = tmp_path / "x.mar"
    if content is not None:
        archive.write_bytes(content)
    with pytest.raises(UserError, match=r"x.mar: this is no model archive \("):
        TorchServe(archive, java=bundled_java())


def test_a_port_that_another_program_took_first_is_given_up(archive):
    """Between the choice of ports and TorchServe's use of them lie seconds."""
    server = TorchServe(archive, workers=1, java=bundled_java())
    with socket.create_server(("127.0.0.1", server.grpc_port)) as other, server:
        assert server.grpc_port != other.getsockname()[1]
        assert (
            httpx.post(server.predictions_url, headers=server.headers, json={"queries": QUERIES[:1]}).status_code == 200
        )


def test_archives_hold_no_pickle_and_the_same_content_gives_the_same_bytes(archive, bundle_folder, tmp_path):
    again = tmp_path / "again.mar"
    files = {file.name: file for file in bundle_folder.iterdir()}
    write_archive(again, files, "mmkgc", "v1", {"batchSize": 8, "maxBatchDelay": 2, "responseTimeout": 30})
    assert again.read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as content:
        suffixes = {Path(name).suffix for name in content.namelist()}
    assert suffixes == {".json", ".yaml", ".safetensors"}


def test_stopping_ends_every_process(archive):
    with TorchServe(archive, workers=1, java=bundled_java()) as server:
        pids = [*server.worker_pids(), server.process.pid]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            pytest.fail(f"process {pid} is still there")
