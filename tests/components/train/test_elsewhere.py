"""Training on a device that is not the CPU, which loses as much: no tensor is left behind on the host.

The device is a pretence (``tests/components/elsewhere.py``): where no GPU is, this finds what would end a run on one.
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.train import trainer
from mmkgc.components.train.config import TrainConfig
from tests.components.elsewhere import DEVICE, elsewhere

SETTINGS: dict[str, Any] = {"batch_size": 200, "epochs": 2, "evaluate_every": 1}
NEEDS = {"mans-a": "ikrl"}
NEEDED = {"graph-context": {"interaction": "ote"}, "gc-ote": {"interaction": "ote", "encoder": "graph-context"}}
BESIDE = {"sharded": {"optimizer": {"name": "row-adagrad", "lr": 0.1}}}
RECIPROCAL = ("conve", "tucker", "vista")
RUNS: dict[str, dict[str, Any]] = {
    **{
        f"sampler {name}": {
            "model": {"dimension": 8, "fusion": NEEDS.get(name, "adamf"), "structure_dropout": 0.2},
            "negatives": {"name": name, "count": 4},
        }
        for name in SAMPLERS.classes()
    },
    **{
        f"interaction {name}": {"model": {"dimension": 8, "interaction": name, "reciprocal": name in RECIPROCAL}}
        for name in INTERACTIONS.classes()
    },
    **{
        f"encoder {name}": {"model": {"dimension": 8, "encoder": name} | NEEDED.get(name, {})} | BESIDE.get(name, {})
        for name in ENTITY_ENCODERS.classes()
    },
    "without structure": {"model": {"dimension": 8, "structure": False}},
    "non-sampling": {"model": {"dimension": 8, "interaction": "distmult"}, "loss": "non-sampling"},
    **{
        f"fusion {name}": {"model": {"dimension": 8, "fusion": name} | NEEDED.get(name, {})}
        for name in FUSIONS.classes()
    },
    "cross-entropy": {
        "model": {"dimension": 8, "interaction": "complex", "reciprocal": True},
        "loss": "cross-entropy",
        "regularizer": "n3",
        "optimizer": {"name": "adagrad", "lr": 0.1},
    },
    "binary cross-entropy": {"model": {"dimension": 8}, "loss": "binary-cross-entropy", "regularizer": "l3"},
    "margin, averaged, weighted": {
        "model": {"dimension": 8, "fine_tune": True, "missing": "random"},
        "loss": "margin",
        "ema": 0.9,
        "subsampling": True,
        "optimizer": {"name": "sgd", "clip": 1.0},
    },
    "dhns, released": {"model": {"dimension": 8}, "negatives": {"name": "dhns", "count": 4, "preset": "released"}},
    "mans-a, by negatives": {
        "model": {"dimension": 8, "fusion": "tbkgc"},
        "negatives": {"name": "mans-a", "count": 4, "measured": "negatives"},
    },
}


@pytest.fixture(scope="module")
def features(toy_features: dict[str, Features]) -> dict[str, Features]:
    """Texts, and for every second entity an image."""
    text = toy_features["textual"].vectors
    mask = torch.arange(len(text)) % 2 > 0
    return toy_features | {"visual": Features(text.flip(1) * mask.unsqueeze(1), mask)}


@pytest.mark.parametrize("settings", RUNS.values(), ids=RUNS)
def test_training_elsewhere_loses_as_much(
    settings: dict[str, Any],
    toy_mmkg: MMKG,
    features: dict[str, Features],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = [], []
    config = TrainConfig(**(SETTINGS | settings))
    trainer.Trainer(toy_mmkg.graph, features, config).fit(lambda _, metrics: here.append(metrics))
    with elsewhere():
        monkeypatch.setattr(trainer, "_device", lambda name: DEVICE)
        model = trainer.Trainer(toy_mmkg.graph, features, config).fit(lambda _, metrics: there.append(metrics))
        assert {parameter.device for parameter in model.parameters()} == {DEVICE}
        Bundle.of(model, toy_mmkg.graph).save(tmp_path / "bundle")
    for name in ("loss", "dev_mrr"):
        assert [each[name] for each in there] == pytest.approx([each[name] for each in here], rel=1e-4)
    assert next(Bundle.load(tmp_path / "bundle").model.parameters()).device == torch.device("cpu")
