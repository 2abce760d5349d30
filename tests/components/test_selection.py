"""Selection never sees test: whatever the test triples are, the same model is trained, calibrated and promoted."""

import sys
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar

import pytest
import torch

from mmkgc.components.evaluate.evaluate import EvaluateConfig, evaluate
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.calibration import calibrate
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import Graph
from mmkgc.components.register.config import GateConfig
from mmkgc.components.register.gate import Costs, decide
from mmkgc.components.register.questions import Contender
from mmkgc.components.register.register import RegisterConfig, register
from mmkgc.components.runtime.files import read_json
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.search import search
from mmkgc.components.train.train import TrainConfig, train
from mmkgc.feature_store.opening import open_storage

QUICK = TrainConfig(
    model={"dimension": 8, "interaction": "distmult", "fusion": "structure"},
    loss="cross-entropy",
    epochs=3,
    evaluate_every=1,
)


@pytest.fixture
def other_test(toy_mmkg):
    """The toy graph with test triples that are all wrong."""
    graph = toy_mmkg.graph
    return replace(toy_mmkg, graph=replace(graph, test=(graph.test + 1) % torch.tensor([60, 4, 60])))


def test_training_and_calibration_do_not_depend_on_test(toy_mmkg, other_test, train_toy):
    ours, theirs = train_toy(toy_mmkg, epochs=3), train_toy(other_test, epochs=3)
    for name, tensor in ours.model.state_dict().items():
        assert torch.equal(tensor, theirs.model.state_dict()[name])
    maps = [
        calibrate(b.model, g.graph.train, g.graph.valid, 60, 4, "platt")
        for b, g in ((ours, toy_mmkg), (theirs, other_test))
    ]
    assert maps[0] == maps[1]


def test_the_gate_does_not_depend_on_test(toy_mmkg, other_test, toy_bundle, train_toy):
    weak = train_toy(toy_mmkg, epochs=2)

    def contender(label: str, bundle: Bundle) -> Contender:
        return Contender(label, bundle.model, bundle.entities, bundle.relations, bundle.train)

    decisions = [
        decide(mmkg.graph, {}, contender("good", toy_bundle), contender("weak", weak), Costs(1, 1), GateConfig())
        for mmkg in (toy_mmkg, other_test)
    ]
    assert decisions[0] == decisions[1]


class Watched(Graph):
    """A graph that knows which modules have read its test triples, other than to leave them out of a filter."""

    readers: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "test" and len(value) and sys._getframe(1).f_code.co_name != "without_test":
            frames = (sys._getframe(depth).f_globals["__name__"] for depth in count(1))
            self.readers.add(
                next(module for module in frames if module not in ("mmkgc.components.kge.graph", __name__))
            )
        return value


def test_in_a_run_evaluate_alone_reads_test_and_asks_it_once(mmkgc_home, toy_mmkg, tmp_path, monkeypatch):
    storage = open_storage()
    toy_mmkg.save(tmp_path / "graph")
    graph = storage.publish(tmp_path / "graph", "graphs").uri
    monkeypatch.setattr("mmkgc.components.dataset.mmkg.Graph", Watched)
    best = search(graph, {}, QUICK, SearchConfig(trials=1, space={"optimizer.lr": {"values": [0.1]}}), storage).uri
    bundle = train(graph, {}, QUICK, storage, best_uri=best).uri
    assert Watched.readers <= {"mmkgc.components.kge.bundle"}, (
        "a server marks every fact as known, those of test as well"
    )
    asked = []
    watched = "mmkgc.components.evaluate.link_prediction.rank"
    monkeypatch.setattr(watched, lambda model, *rest: asked.append(model) or rank(model, *rest))
    evaluation = evaluate(graph, bundle, EvaluateConfig(bootstrap=100), storage).uri
    assert [type(model).__name__ for model in asked] == ["Model", "RelationPopularity"]
    assert all(
        reader.startswith(("mmkgc.components.evaluate.", "mmkgc.components.kge.evaluation."))
        for reader in Watched.readers - {"mmkgc.components.kge.bundle"}
    )
    Watched.readers.clear()
    register(graph, bundle, evaluation, RegisterConfig(model="toy"), storage)
    assert Watched.readers == set()


def test_a_search_does_not_depend_on_test(mmkgc_home, toy_mmkg, other_test, tmp_path):
    storage, found = open_storage(), []
    config = SearchConfig(trials=2, space={"optimizer.lr": {"values": [0.01, 0.1]}})
    for name, mmkg in {"ours": toy_mmkg, "theirs": other_test}.items():
        mmkg.save(tmp_path / name)
        stored = search(storage.publish(tmp_path / name, "graphs").uri, {}, QUICK, config, storage)
        best = read_json(storage.fetch(stored.uri) / "best.json")
        found.append((best["overrides"], best["dev_mrr"]))
    assert found[0] == found[1]
