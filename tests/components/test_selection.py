"""Selection never sees test: whatever the test triples are, the same model is trained, calibrated and promoted."""

from dataclasses import replace

import pytest
import torch

from components.kge.bundle import Bundle
from components.kge.calibration import calibrate
from components.register.config import GateConfig
from components.register.gate import Costs, decide
from components.register.questions import Contender
from components.runtime.files import read_json
from components.search.config import SearchConfig
from components.search.search import search
from components.train.config import TrainConfig
from feature_store.storage import open_storage


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
        calibrate(b.model, g.graph.train, g.graph.valid, 60, 4, "platt", 0)
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


def test_a_search_does_not_depend_on_test(mmkgc_home, toy_mmkg, other_test, tmp_path):
    storage, found = open_storage(), []
    train = TrainConfig(
        model={"dimension": 8, "interaction": "distmult", "fusion": "structure"},
        objective="cross-entropy",
        epochs=3,
        evaluate_every=1,
    )
    config = SearchConfig(trials=2, space={"optimizer.lr": {"values": [0.01, 0.1]}})
    for name, mmkg in {"ours": toy_mmkg, "theirs": other_test}.items():
        mmkg.save(tmp_path / name)
        stored = search(storage.publish(tmp_path / name, "graphs").uri, {}, train, config, storage)
        best = read_json(storage.fetch(stored.uri) / "best.json")
        found.append((best["overrides"], best["dev_mrr"]))
    assert found[0] == found[1]
