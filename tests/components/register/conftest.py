from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.register.config import RegisterConfig
from mmkgc.components.register.register import register
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.storage import Storage

METRICS = {
    "protocol": {"ties": "realistic", "label": "filtered"},
    "metrics": {"realistic": {"both": {"mrr": 0.5}}},
    "baseline": {"both": {"mrr": 0.1}},
    "dataset": {"name": "toy"},
}
"""What registration reads of an evaluation: its description says it, the gate does not."""


@pytest.fixture
def storage(mmkgc_home: Path) -> Storage:
    return open_storage()


@pytest.fixture
def submit(storage: Storage, tmp_path: Path) -> Callable[..., dict]:
    """Publishes and registers a model as a run does; returns the registration record."""

    def submitted(mmkg: MMKG, bundle: Bundle, **gate) -> dict:
        mmkg.save(tmp_path / "graph")
        bundle.save(tmp_path / "bundle")
        graph, model = storage.publish(tmp_path / "graph", "graphs"), storage.publish(tmp_path / "bundle", "bundles")
        write_json(tmp_path / "evaluation" / "metrics.json", METRICS)
        evaluation = storage.publish(tmp_path / "evaluation", "evaluations")
        config = RegisterConfig(model="toy", gate=gate)
        registration = register(graph.uri, model.uri, evaluation.uri, config, storage)
        return read_json(storage.fetch(registration.uri) / "registration.json")

    return submitted
