"""A small random graph with features, and what strategies need to be made."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch

N, R = 30, 3
NEEDS: dict[str, dict[str, Any]] = {
    "gc-ote": {"interaction": "ote", "encoder": "graph-context"}
}  # what else a fusion takes


@pytest.fixture
def graph() -> Graph:
    """30 entities, 3 relations; the last entity is in no train triple."""
    random = torch.Generator().manual_seed(0)
    ids = [torch.randint(size, (300,), generator=random) for size in (N - 1, R, N - 1)]
    triples = torch.unique(torch.stack(ids, dim=1), dim=0)
    triples = triples[torch.randperm(len(triples), generator=random)]
    names = [tuple(f"{kind}{index}" for index in range(size)) for kind, size in (("e", N), ("r", R))]
    vocabularies = [Vocabulary(keys, keys) for keys in names]
    return Graph(*vocabularies, train=triples[:200], valid=triples[200:230], test=triples[230:])


@pytest.fixture
def features() -> dict[str, Features]:
    """Image and text vectors; every third entity has no image, every fifth no text."""
    random = torch.Generator().manual_seed(1)
    made = {}
    for modality, period in (("visual", 3), ("textual", 5)):
        mask = torch.arange(N) % period > 0
        made[modality] = Features(torch.randn(N, 7, generator=random) * mask.unsqueeze(1), mask)
    return made


@pytest.fixture
def make_model(graph: Graph, features: dict[str, Features]) -> Callable[..., Model]:
    """Builds a model of the graph, or of other train ``triples``, from the settings of a ``ModelConfig``."""

    def make(triples: torch.Tensor = graph.train, **settings: Any) -> Model:
        torch.manual_seed(0)
        config = ModelConfig(**({"dimension": 6} | settings | NEEDS.get(str(settings.get("fusion")), {})))
        seen = torch.arange(N) < N - 1
        return Model(config, R, features, seen, triples)

    return make


@pytest.fixture
def make_context(graph: Graph, features: dict[str, Features]) -> Callable[..., Context]:
    """What a strategy gets for a model."""

    def make(model: Model, loss: str | dict[str, Any] = "self-adversarial", seed: int = 0) -> Context:
        generator = torch.Generator().manual_seed(seed)
        return Context(model, graph, KnownTriples(graph.train, N, R), generator, LOSSES.create(loss), features)

    return make


@pytest.fixture
def batch(graph: Graph) -> Batch:
    """The first 40 train triples."""
    return Batch(graph.train[:40], torch.ones(40))
