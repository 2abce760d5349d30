from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.propose.config import ProposeConfig
from mmkgc.components.propose.decided import Decided
from mmkgc.components.propose.propose import complete_graph
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage
from mmkgc.serving.api.protocol import ModelName

MODEL = ModelName(name="toy", version="3")


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def calibrated(toy_mmkg: MMKG, toy_bundle: Bundle) -> Bundle:
    rest = {"encoders": toy_bundle.encoders, "config": toy_bundle.config}
    return Bundle.of(
        toy_bundle.model, toy_mmkg.graph, calibration={"method": "platt", "slope": 1.0, "intercept": 0.0}, **rest
    )


@pytest.fixture(scope="session")
def toy_folder(calibrated: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "bundle"
    calibrated.save(folder)
    return folder


@pytest.fixture
def complete(toy_folder: Path, storage: Storage, tmp_path: Path) -> Callable[..., Path]:
    """Proposes on the toy graph; the published folder."""

    def completed(rejected=(), accepted=(), folder: Path = toy_folder, **config) -> Path:
        decided = Decided(accepted, rejected)
        stored = complete_graph(folder, MODEL, ProposeConfig(**config), storage, decided, tmp_path / "scratch")
        return storage.fetch(stored.uri)

    return completed
