"""A small graph with something to learn, for the rooms that judge models: evaluate, register, search."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime import tracking
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

GROUPS, SIZE, RELATIONS = 6, 10, 4


@pytest.fixture
def two_threads() -> Iterator[None]:
    """PyTorch, and thus the kernels, with two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it; making one takes seconds."""
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKGC_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        tracking.client()
    return home / "mlflow.db"


@pytest.fixture
def mmkgc_home(empty_mlflow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own with an empty MLflow store."""
    (tmp_path / "home").mkdir()
    shutil.copy(empty_mlflow, tmp_path / "home")
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MMKGC_PIPELINE_RUN", "MMKGC_STORAGE", "MMKGC_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


@pytest.fixture(scope="session")
def toy_mmkg() -> MMKG:
    """60 entities in 6 groups; relation r leads from group g to members of group g + r + 1. Two thirds have a text."""
    entities = GROUPS * SIZE
    generator = torch.Generator().manual_seed(7)
    heads = torch.arange(entities).repeat_interleave(RELATIONS * 3)
    relations = torch.arange(RELATIONS).repeat_interleave(3).repeat(entities)
    members = torch.randint(SIZE, heads.shape, generator=generator)
    tails = (heads + relations + 1) % GROUPS + GROUPS * members
    triples = torch.unique(torch.stack([heads, relations, tails], dim=1), dim=0)
    triples = triples[torch.randperm(len(triples), generator=generator)]
    test, valid, train = triples.split([60, 60, len(triples) - 120])
    names = tuple(f"entity {index}" for index in range(entities))
    relation_names = tuple(f"relation {index}" for index in range(RELATIONS))
    graph = Graph(
        Vocabulary(tuple(f"e{index}" for index in range(entities)), names),
        Vocabulary(tuple(f"r{index}" for index in range(RELATIONS)), relation_names),
        train=train,
        valid=valid,
        test=test,
        types=tuple(f"group {index % GROUPS}" for index in range(entities)),
    )
    descriptions = tuple(None if index % 3 == 0 else f"text {index}" for index in range(entities))
    return MMKG(graph, {"textual": descriptions}, {"name": "toy", "warnings": ["a toy graph"]})


@pytest.fixture(scope="session")
def toy_features(toy_mmkg: MMKG) -> dict[str, Features]:
    """Textual features that tell the group, with noise."""
    mask = torch.tensor([text is not None for text in toy_mmkg.content("textual")])
    group = torch.nn.functional.one_hot(torch.arange(len(mask)) % GROUPS, GROUPS).float()
    noise = torch.randn(group.shape, generator=torch.Generator().manual_seed(1))
    return {"textual": Features((group + 0.3 * noise) * mask.unsqueeze(1), mask)}


@pytest.fixture(scope="session")
def train_toy(toy_features: dict[str, Features]) -> Callable[..., Bundle]:
    """Trains a bundle on a graph: more epochs, a better model."""

    def trained(mmkg: MMKG, epochs: int = 30, fusion: str = "adamf", seed: int = 0) -> Bundle:
        config = TrainConfig(
            seed=seed,
            model={"dimension": 16, "interaction": "complex", "fusion": fusion, "modalities": ["textual"]},
            loss="cross-entropy",
            optimizer={"lr": 0.02},
            batch_size=128,
            epochs=epochs,
            evaluate_every=epochs,
        )
        features = toy_features if fusion != "structure" else {}
        trainer = Trainer(mmkg.graph, features, config)
        trainer.fit()
        encoders = {name: {"encoder": "toy", "weights": "random"} for name in features}
        return Bundle.of(trainer.model, mmkg.graph, encoders=encoders, config=config.model_dump())

    return trained


@pytest.fixture(scope="session")
def toy_bundle(toy_mmkg: MMKG, train_toy: Callable[..., Bundle]) -> Bundle:
    """A trained model of the toy graph."""
    return train_toy(toy_mmkg)
