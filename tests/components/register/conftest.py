from collections.abc import Callable
from pathlib import Path

import pytest

from components.evaluate.config import EvaluateConfig
from components.evaluate.evaluate import evaluate
from components.ingest.mmkg import MMKG
from components.kge.bundle import Bundle
from components.register.config import RegisterConfig
from components.register.register import register
from components.runtime.files import read_json
from feature_store.storage import Storage, open_storage


@pytest.fixture
def storage(mmkgc_home: Path) -> Storage:
    return open_storage()


@pytest.fixture
def submit(storage: Storage, tmp_path: Path) -> Callable[..., dict]:
    """Publishes, evaluates and registers a model as a run does; returns the registration record."""

    def submitted(mmkg: MMKG, bundle: Bundle, **gate) -> dict:
        mmkg.save(tmp_path / "graph")
        bundle.save(tmp_path / "bundle")
        graph, model = storage.publish(tmp_path / "graph", "graphs"), storage.publish(tmp_path / "bundle", "bundles")
        evaluation = evaluate(graph.uri, model.uri, EvaluateConfig(bootstrap=100, missing=()), storage)
        config = RegisterConfig(model="toy", gate=gate)
        registration = register(graph.uri, model.uri, evaluation.uri, config, storage)
        return read_json(storage.fetch(registration.uri) / "registration.json")

    return submitted
