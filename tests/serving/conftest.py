"""A small trained-by-chance model, the same for every test of serving."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI

from mmkgc.components.encoders.literals import LiteralsConfig
from mmkgc.components.encoders.registry import create
from mmkgc.components.encoders.sbert import SBERTConfig
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.serving.api.gateway import connections
from mmkgc.serving.api.gateway.settings import Limits
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.service import respond
from mmkgc.serving.torchserve.archive import write_archive
from mmkgc.serving.torchserve.java import bundled_java
from mmkgc.serving.torchserve.server import TorchServe, free_ports

N, R, D_TEXT, D_IMAGE = 40, 5, 16, 12


def make_graph(seed: int = 0, triples: int = 160) -> Graph:
    """Entities e0 … e39 called Entity 0 … (two share a name), typed town or river; relations r0 … r4."""
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(high, (triples,), generator=generator) for high in (N, R, N)]
    unique = torch.unique(torch.stack(columns, dim=1), dim=0)
    shuffled = unique[torch.randperm(len(unique), generator=generator)]
    names = [f"Entity {index}" for index in range(N)]
    names[7] = names[8] = "Twin"
    return Graph(
        Vocabulary(tuple(f"e{index}" for index in range(N)), tuple(names)),
        Vocabulary(tuple(f"r{index}" for index in range(R)), tuple(f"Relation {index}" for index in range(R))),
        train=shuffled[:-20],
        valid=shuffled[-20:-10],
        test=shuffled[-10:],
        types=tuple("town" if index % 2 else "river" for index in range(N)),
    )


def make_features(width: int, seed: int, share: float = 0.8) -> Features:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(N, generator=generator) < share
    return Features(torch.randn(N, width, generator=generator) * mask[:, None], mask)


def random_bundle(seed: int = 0, **model: object) -> Bundle:
    """Random weights: what the engine does with scores does not depend on whether they were learned."""
    torch.manual_seed(seed)
    graph = make_graph()
    features = {"visual": make_features(D_IMAGE, 1), "textual": make_features(D_TEXT, 2)}
    seen = torch.ones(N, dtype=torch.bool)
    config = ModelConfig(**{"dimension": 8, "structure_dropout": 0.2} | model)
    model_ = Model(config, R, features, seen).eval()
    calibration = {"method": "platt", "slope": 1.5, "intercept": 0.25}
    return Bundle.of(model_, graph, calibration=calibration, provenance={"made_by": "tests"})


@pytest.fixture(scope="session")
def make_bundle() -> Callable[..., Bundle]:
    return random_bundle


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    return random_bundle()


@pytest.fixture(scope="session")
def bundle_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "bundle"
    bundle.save(folder)
    return folder


@pytest.fixture(scope="session")
def engine(bundle_folder: Path) -> Engine:
    return Engine.load(bundle_folder, "mmkgc", "test")


@pytest.fixture(scope="session")
def archive(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "mmkgc.mar"
    files = {file.name: file for file in bundle_folder.iterdir()}
    write_archive(path, files, "mmkgc", "v1", {"batchSize": 8, "maxBatchDelay": 2, "responseTimeout": 30})
    return path


@pytest.fixture(scope="session")
def torchserve(archive: Path) -> Iterator[TorchServe]:
    """A real TorchServe on the Java that comes with the dependencies, with two workers."""
    with TorchServe(archive, workers=2, java=bundled_java()) as server:
        yield server


class EngineModel:
    """The engine in this process behind the gateway, so that the gateway's own behaviour is tested without Java."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        return respond(self.engine, [json.loads(body)])[0]

    async def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def in_process() -> type[EngineModel]:
    return EngineModel


@pytest.fixture(scope="session")
def engine_model(engine: Engine) -> EngineModel:
    return EngineModel(engine)


def bundle_of_texts() -> Bundle:
    """A bundle whose textual features come from the real sentence encoder, so that it can read new texts."""
    encoder = create(SBERTConfig())
    graph = make_graph()
    texts = [f"{name}, a {kind}." for name, kind in zip(graph.entities.names, graph.types or (), strict=True)]
    vectors = torch.from_numpy(np.asarray(encoder.encode(texts)))
    features = {"textual": Features(vectors, torch.ones(N, dtype=torch.bool))}
    torch.manual_seed(0)
    config = ModelConfig(dimension=8, structure_dropout=0.2)
    model = Model(config, R, features, torch.ones(N, dtype=torch.bool)).eval()
    return Bundle.of(model, graph, encoders={"textual": encoder.spec.model_dump()})


def bundle_of_numbers() -> Bundle:
    """A bundle whose entities have numbers: a population each, and every third a year of foundation."""
    graph = make_graph()
    items = [
        (("population", 1000.0 * index), *([("founded", 1500.0 + index)] * (index % 3 == 0))) for index in range(N)
    ]
    encoder = create(LiteralsConfig(rare=20)).fit(items)
    features = {"numeric": Features(torch.from_numpy(encoder.encode(items)), torch.ones(N, dtype=torch.bool))}
    torch.manual_seed(0)
    config = ModelConfig(dimension=8, structure_dropout=0.2)
    model = Model(config, R, features, torch.ones(N, dtype=torch.bool)).eval()
    return Bundle.of(model, graph, encoders={"numeric": encoder.spec.model_dump(mode="json")})


@pytest.fixture(scope="session")
def counting_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a bundle that reads numbers."""
    folder = tmp_path_factory.mktemp("bundle") / "numbers"
    bundle_of_numbers().save(folder)
    return folder


@pytest.fixture(scope="session")
def make_reading_bundle() -> Callable[[], Bundle]:
    return bundle_of_texts


@pytest.fixture(scope="session")
def reading_bundle() -> Bundle:
    return bundle_of_texts()


@contextmanager
def served(app: FastAPI, limits: Limits | None = None) -> Iterator[str]:
    """The address of an application that a thread of this process serves."""
    (port,) = free_ports(1)
    server = connections.server(app, "127.0.0.1", port, limits or Limits())
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until_answered(f"http://127.0.0.1:{port}/healthz")
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="session")
def serve() -> Callable[..., Any]:
    return served


def wait_until_answered(url: str) -> None:
    for _ in range(900):
        try:
            httpx.get(url)
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError(f"nobody answers at {url}")


@pytest.fixture(scope="session")
def wait_for() -> Callable[[str], None]:
    return wait_until_answered


class Near:
    """Equal to answers whose numbers differ in the last digits only: a sum depends on what else is in its batch."""

    def __init__(self, expected: Any) -> None:
        self.expected = expected

    def __eq__(self, found: object) -> bool:
        return _near(found, self.expected)

    def __repr__(self) -> str:
        return repr(self.expected)


def _near(found: Any, expected: Any) -> bool:
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(_near(found[k], expected[k]) for k in found)
        )
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(_near, found, expected))
    return found == pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else found == expected


@pytest.fixture(scope="session")
def near() -> type[Near]:
    return Near
