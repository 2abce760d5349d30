"""Fusion ``ensemble``: it trains and ranks as its parts would as models of their own."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.evaluation.ensemble import Ensemble
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.train.config import TrainConfig

COUNT, SMALL = 3, 4
MakeModel = Callable[..., Model]


def separate_models(whole: Model, make_model: MakeModel, **settings: Any) -> list[Model]:
    """Models of fusion ``sum`` with the parameters of each part."""
    models = []
    for number, part in enumerate(whole.fusion.parts):
        one = make_model(fusion="sum", dimension=SMALL, **settings).double().eval()
        block = slice(number * part.entity_width, (number + 1) * part.entity_width)
        weights = dict(whole.entities.named_parameters())
        for name, parameter in one.entities.named_parameters():
            own = weights[name]
            rows = own if own.shape == parameter.shape else own[block] if "projections" in name else own[..., block]
            parameter.data.copy_(rows)
        one.relations["relation"].data.copy_(whole.relations[f"part {number + 1}"])
        models.append(one)
    return models


@pytest.mark.parametrize("interaction", ["complex", "rotate", "transh"])
@pytest.mark.parametrize("loss", ["cross-entropy", "grouped-cross-entropy"])
def test_an_ensemble_is_trained_and_ranked_as_models_of_their_own(
    interaction: str, loss: str, make_model: MakeModel, graph: Graph
) -> None:
    settings = {"interaction": {"name": interaction, "init": 0.5}, "reciprocal": True}
    fusion = {"name": "ensemble", "count": COUNT}
    whole = make_model(fusion=fusion, dimension=COUNT * SMALL, **settings).double().eval()
    models = separate_models(whole, make_model, **settings)
    weight, asks_head = torch.ones(20).double(), torch.arange(20) % 2 == 0
    batch = Batch(graph.train[:20], weight, asks_head if loss == "grouped-cross-entropy" else None)
    known, penalty = KnownTriples(graph.train, 30, 3), REGULARIZERS.create({"name": "n3", "weight": 0.1})
    ours, *theirs = (
        batch_losses(model, batch, [], LOSSES.create(loss), known, penalty).losses for model in (whole, *models)
    )
    for name, value in ours.items():
        torch.testing.assert_close(value, sum(each[name] for each in theirs))
    heads, relations = graph.train[:20, 0], graph.train[:20, 1]
    scores, together = whole.score_tails(heads, relations), Ensemble(models).score_tails(heads, relations)
    torch.testing.assert_close(scores.log_softmax(1), together.log_softmax(1))


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ({"dimension": 100, "fusion": {"name": "ensemble", "count": 3}}, "3 models cannot share dimension 100"),
        ({"dimension": 100, "fusion": "ensemble", "interaction": "conve", "reciprocal": True}, "cannot be divided"),
        ({"dimension": 100, "fusion": "ensemble", "encoder": "graph-context"}, "relation vectors of one model"),
    ],
)
def test_what_cannot_be_divided_is_refused(model: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        TrainConfig(**{"model": model, "loss": "cross-entropy", "negatives": None})


def test_parts_start_from_different_vectors(make_model: MakeModel) -> None:
    model = make_model(fusion={"name": "ensemble", "count": 2}, interaction="complex")
    one, other = (model.encode().views[f"part {number}"] for number in (1, 2))
    assert not torch.allclose(one, other)
