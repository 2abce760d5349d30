"""One contract: engine, TorchServe (REST, Open Inference Protocol, gRPC), gateway, clients and MLflow answer alike."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pandas as pd
import pytest
from fastapi import FastAPI

from mmkgc.serving.api.client import AsyncClient, Client, ClientError, QueryFailed
from mmkgc.serving.api.gateway.app import create_app
from mmkgc.serving.api.gateway.upstream import TorchServeModel
from mmkgc.serving.api.protocol import Failed
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.torchserve.archive import write_archive
from mmkgc.serving.torchserve.java import bundled_java
from mmkgc.serving.torchserve.server import TorchServe, free_ports, stop_process

KEY = "0123456789abcdef"
QUERIES = [
    {"head": "e1", "relation": "r1", "k": 5},
    {"relation": "Relation 2", "tail": "ENTITY 5", "k": 3},
    {"head": "e1", "tail": "e2"},
    {"head": "e1", "relation": "r3", "tail": "e4"},
    {"head": "Twin", "relation": "r1"},
    {"head": "nobody", "relation": "r1"},
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def gateway(torchserve, serve):
    with serve(create_app(TorchServeModel(torchserve.predictions_url, torchserve.token), [KEY])) as url:
        yield url


def through_rest(torchserve) -> list[dict]:
    return httpx.post(torchserve.predictions_url, headers=torchserve.headers, json={"queries": QUERIES}).json()[
        "answers"
    ]


def through_open_inference(torchserve) -> list[dict]:
    data = [json.dumps(query) for query in QUERIES]
    body = {"inputs": [{"name": "queries", "shape": [len(data)], "datatype": "BYTES", "data": data}]}
    url = f"{torchserve.url}/v2/models/mmkgc/infer"
    output = httpx.post(url, headers=torchserve.headers, json=body).json()["outputs"][0]
    return [json.loads(text) for text in output["data"]]


def through_grpc(torchserve) -> list[dict]:
    """TorchServe's ``Predictions`` call; its messages are small enough to be written by hand."""

    def field(number: int, data: bytes) -> bytes:
        assert len(data) < 1 << 14
        length = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
        return bytes([number << 3 | 2]) + length + data

    body = json.dumps({"queries": QUERIES}).encode()
    message = field(1, b"mmkgc") + field(3, field(1, b"data") + field(2, body))
    with grpc.insecure_channel(f"127.0.0.1:{torchserve.grpc_port}") as channel:
        call = channel.unary_unary("/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions")
        answer = call(message, metadata=list(torchserve.headers.items()), timeout=30)
    return json.loads(answer[answer.index(b"{") :])["answers"]


@pytest.mark.parametrize("ask", [through_rest, through_open_inference, through_grpc])
def test_torchserve_answers_like_the_engine(ask, torchserve, engine, near):
    assert ask(torchserve) == near(engine.answer(QUERIES))


def test_the_gateway_answers_like_the_engine(gateway, engine, near):
    headers = {"authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{gateway}/v1/complete", json={"queries": QUERIES}, headers=headers).json()
    assert answer == {"model": {"name": "mmkgc", "version": "v1"}, "answers": near(engine.answer(QUERIES))}


def as_json(answers: list) -> list[dict]:
    return [answer.model_dump(mode="json", exclude_unset=True) for answer in answers]


def test_the_client_answers_like_the_engine(gateway, engine, near):
    with Client(gateway, KEY) as client:
        assert as_json(client.complete_all(QUERIES)) == near(engine.answer(QUERIES))
        assert client.complete(QUERIES[0]).predictions[0].key == engine.answer(QUERIES)[0]["predictions"][0]["key"]
        assert client.score("e1", "r3", "e4").score == pytest.approx(engine.answer(QUERIES)[3]["score"], abs=1e-5)
        assert client.entities("twin")[0]["key"] == "e7"
        assert len(client.relations()) == 5
        described = client.entity("e7", limit=1)
        assert (described["name"], len(described["facts"])) == ("Twin", 1)
        assert client.model()["interaction"] == "rotate"
        with pytest.raises(QueryFailed, match="did you mean: Twin, Twin") as caught:
            client.complete(QUERIES[4])
        assert caught.value.problem.code == "ambiguous_entity"


def test_more_queries_than_a_request_takes_are_split(gateway):
    queries = [{"head": f"e{index % 7}", "relation": "r1", "k": 1} for index in range(1500)]
    with Client(gateway, KEY) as client:
        answers = client.complete_all(queries)
    assert len(answers) == 1500
    assert not [answer for answer in answers if isinstance(answer, Failed)]
    assert answers[0] == answers[7]


@pytest.mark.anyio
async def test_the_asynchronous_client_answers_like_the_engine(gateway, engine, near):
    async with AsyncClient(gateway, KEY) as client:
        assert as_json(await client.complete_all(QUERIES)) == near(engine.answer(QUERIES))
        assert (await client.score("e1", "r3", "e4")).score == pytest.approx(
            engine.answer(QUERIES)[3]["score"], abs=1e-5
        )
        assert (await client.model())["entities"] == 40


def test_a_refusal_and_a_silence_are_client_errors(gateway):
    with Client(gateway, "a-wrong-key-of-16") as client, pytest.raises(ClientError, match="401"):
        client.model()
    with Client("http://127.0.0.1:9", KEY, retries=1) as client, pytest.raises(ClientError, match="no answer from"):
        client.model()


@pytest.fixture
def as_mlflow(tmp_path) -> Callable[[Path], Any]:
    """A bundle folder as MLflow loads it."""
    import mlflow

    import mmkgc.components.register.pyfunc as served

    def load(bundle: Path) -> Any:
        files = {"python_model": served.__file__, "artifacts": {"bundle": str(bundle)}}
        mlflow.pyfunc.save_model(tmp_path / "model", **files, pip_requirements=[])  # else it runs the model to find out
        assert not list(tmp_path.rglob("*.pkl"))
        return mlflow.pyfunc.load_model(str(tmp_path / "model"))

    return load


@contextmanager
def mlflow_serves(model: Path, wait_for: Callable[[str], None]) -> Iterator[str]:
    """The address of ``mlflow models serve``, which starts the ``uvicorn`` that it finds on the path."""
    (port,) = free_ports(1)
    scripts = Path(sys.executable).parent
    command = [str(scripts / "mlflow"), "models", "serve", "--env-manager", "local", "-m", str(model), "-p", str(port)]
    process = subprocess.Popen(command, env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"})
    try:
        wait_for(f"http://127.0.0.1:{port}/ping")
        yield f"http://127.0.0.1:{port}"
    finally:
        stop_process(process)


def test_mlflow_answers_like_the_engine(bundle_folder, engine, as_mlflow, near, tmp_path, wait_for):
    loaded = as_mlflow(bundle_folder).predict(pd.DataFrame(QUERIES))
    with mlflow_serves(tmp_path / "model", wait_for) as url:
        served = httpx.post(f"{url}/invocations", json={"dataframe_records": QUERIES}, timeout=60).json()["predictions"]
    for texts in (loaded, served):
        assert [json.loads(text) for text in texts] == near(engine.answer(QUERIES))


def test_mlflow_takes_unseen_entities_and_options_as_columns(reading_bundle, tmp_path, as_mlflow, near):
    reading_bundle.save(tmp_path / "bundle")
    rows = [
        {"head_text": "A quiet town on a river.", "relation": "r1", "k": 3},
        {"relation": "r1", "tail_text": "A town.", "type": "river"},
        {"head": "e1", "relation": "r1", "candidates": ["e2", "e3"], "exclude_known": False},
        {"head": "e1", "head_text": "One or the other.", "relation": "r1"},
        {"head_image": b"no picture", "relation": "r1"},
    ]
    queries = [
        {"head": {"text": "A quiet town on a river."}, "relation": "r1", "k": 3},
        {"relation": "r1", "tail": {"text": "A town."}, "type": "river"},
        *rows[2:4],
        {"head": {"image": b64encode(b"no picture").decode()}, "relation": "r1"},
    ]
    found = [json.loads(text) for text in as_mlflow(tmp_path / "bundle").predict(pd.DataFrame(rows))]
    assert found == near(Engine(reading_bundle).answer(queries))
    assert ["error" in answer for answer in found] == [False, False, False, True, True]


async def ask_until(app: FastAPI, stop: asyncio.Event, clients: int = 4) -> list[httpx.Response]:
    """Responses of clients that ask one query after the other until ``stop``."""
    answers = []

    async def ask(client: httpx.AsyncClient) -> None:
        while not stop.is_set():
            answers.append(await client.post("/v1/complete", json={"queries": QUERIES[:1]}))

    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://gateway", headers=headers
    ) as client:
        await asyncio.gather(*(ask(client) for _ in range(clients)))
    return answers


@pytest.mark.anyio
async def test_a_new_version_takes_over_without_a_failed_request(torchserve, bundle_folder, tmp_path):
    archive = tmp_path / "mmkgc.mar"
    write_archive(archive, {file.name: file for file in bundle_folder.iterdir()}, "mmkgc", "v2", {})
    app, stop = create_app(TorchServeModel(torchserve.predictions_url, torchserve.token), [KEY]), asyncio.Event()
    load = asyncio.create_task(ask_until(app, stop))
    successor = await asyncio.to_thread(TorchServe(archive, workers=1, java=bundled_java()).start)
    try:
        await app.state.gateway.upstream.replace(TorchServeModel(successor.predictions_url, successor.token))
        await asyncio.sleep(0.5)
        stop.set()
        answers = await load
    finally:
        successor.stop()
    assert {answer.status_code for answer in answers} == {200}
    versions = [answer.json()["model"]["version"] for answer in answers]
    assert set(versions) == {"v1", "v2"}
    assert versions == sorted(versions)


@pytest.mark.anyio
async def test_a_worker_killed_under_load_loses_no_request_silently(torchserve):
    app, stop = create_app(TorchServeModel(torchserve.predictions_url, torchserve.token), [KEY]), asyncio.Event()
    load = asyncio.create_task(ask_until(app, stop))
    await asyncio.sleep(0.5)
    os.kill(torchserve.worker_pids()[0], signal.SIGKILL)
    await asyncio.sleep(10)
    stop.set()
    answers = await load  # what the worker had in its hands may be given up only at the gateway's time limit
    assert {answer.status_code for answer in answers} <= {200, 503}
    stop = asyncio.Event()
    again = asyncio.create_task(ask_until(app, stop))
    await asyncio.sleep(0.5)
    stop.set()
    assert {answer.status_code for answer in await again} == {200}
