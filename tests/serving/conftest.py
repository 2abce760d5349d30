"""A small trained-by-chance model, the same for every test of serving."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from components.kge.bundle import Bundle
from components.kge.features import Features
from components.kge.graph import Graph, Vocabulary
from components.kge.model import Model, ModelConfig
from serving.engine import Engine
from serving.service import respond
from serving.torchserve.archive import write_archive
from serving.torchserve.java import bundled_java
from serving.torchserve.server import TorchServe

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
    model_ = Model(config, N, R, features, seen).eval()
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

    async def ask(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return tuple(respond(self.engine, [body])[0])

    async def close(self) -> None:
        pass


@pytest.fixture(scope="session")
def engine_model(engine: Engine) -> EngineModel:
    return EngineModel(engine)
