"""The first losses of six recipes: a change of structure must not change what training computes.

``python -m pytest tests/components/train/test_golden_losses.py --write-golden`` measures them anew. On one machine they
are equal to the last bit, with one thread; processors differ in the order of their sums, hence the tolerance.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

ASSET = Path(__file__).parents[2] / "assets" / "golden_losses.json"
ENTITIES, RELATIONS, TRIPLES, STEPS = 600, 12, 5120, 20
SELF_ADVERSARIAL = {"name": "self-adversarial", "margin": 9}
RECIPES: dict[str, dict[str, Any]] = {
    "rotate-adamf-bernoulli": {
        "model": {"interaction": "rotate", "fusion": "adamf", "structure_dropout": 0.05},
        "negatives": {"name": "bernoulli", "count": 16},
        "loss": SELF_ADVERSARIAL,
    },
    "transe-ikrl-mans-a": {
        "model": {"interaction": {"name": "transe", "normalize": True}, "fusion": "ikrl"},
        "negatives": {"name": "mans-a", "count": 4},
        "loss": {"name": "margin", "margin": 4},
    },
    "rotate-adamf-mat": {
        "model": {"interaction": "rotate", "fusion": "adamf", "missing": "zeros"},
        "negatives": {"name": "mat", "count": 16},
        "loss": SELF_ADVERSARIAL,
    },
    "distmult-adamf-dhns": {
        "model": {"interaction": "distmult", "fusion": {"name": "adamf", "shared": True}},
        "negatives": {"name": "dhns", "count": 16},
        "loss": {"name": "self-adversarial", "margin": 0},
        "regularizer": {"name": "l3", "weight": 1e-5},
    },
    "complex-sum-cross-entropy": {
        "model": {"interaction": "complex", "fusion": "sum", "reciprocal": True},
        "loss": "cross-entropy",
        "regularizer": "n3",
        "optimizer": {"name": "adagrad", "lr": 0.1},
    },
    "quate-mose-binary-cross-entropy": {
        "model": {"interaction": "quate", "fusion": "mose", "missing": "random"},
        "loss": "binary-cross-entropy",
        "optimizer": {"name": "adam", "lr": 0.01},
    },
}


def graph() -> Graph:
    """Random triples, in which few entities have many of them."""
    random = torch.Generator().manual_seed(0)
    ids = [(torch.rand(TRIPLES, generator=random) ** 2 * ENTITIES).long() for _ in range(2)]
    relations = torch.randint(RELATIONS, (TRIPLES,), generator=random)
    triples = torch.stack([ids[0], relations, ids[1]], dim=1)
    names = [tuple(f"{kind}{index}" for index in range(size)) for kind, size in (("e", ENTITIES), ("r", RELATIONS))]
    empty = torch.empty((0, 3), dtype=torch.long)
    return Graph(*(Vocabulary(keys, keys) for keys in names), train=triples, valid=empty, test=empty)


def features() -> dict[str, Features]:
    """Image and text vectors; a third of the entities have no image, a fifth no text."""
    random = torch.Generator().manual_seed(1)
    made = {}
    for modality, period, width in (("visual", 3, 24), ("textual", 5, 40)):
        mask = torch.arange(ENTITIES) % period > 0
        made[modality] = Features(torch.randn(ENTITIES, width, generator=random) * mask.unsqueeze(1), mask)
    return made


def first_losses(settings: dict[str, Any]) -> list[float]:
    """Sum of a batch's losses in each of the first steps."""
    settings = {"optimizer": {"lr": 0.01}, "batch_size": 256} | settings
    config = TrainConfig(**settings | {"model": {"dimension": 32} | settings["model"]})
    trainer = Trainer(graph(), features(), config)
    trainer.model.train()
    rows = torch.arange(TRIPLES).split(config.batch_size)
    return [sum(loss.item() for loss in trainer.step(rows[step]).values()) for step in range(STEPS)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads change the order of sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("recipe", RECIPES)
def test_first_losses_are_as_recorded(recipe: str, request: pytest.FixtureRequest) -> None:
    losses = first_losses(RECIPES[recipe])
    recorded = json.loads(ASSET.read_text()) if ASSET.is_file() else {}
    if request.config.getoption("--write-golden"):
        ASSET.write_text(json.dumps(recorded | {recipe: losses}, indent=1, sort_keys=True) + "\n")
    else:
        assert losses == pytest.approx(recorded[recipe], rel=1e-4)
