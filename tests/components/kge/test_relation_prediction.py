"""Relation prediction, against a loop over triples and relations."""

from collections.abc import Callable

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.compatibility import incompatibility
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives.samples import Batch
from mmkgc.components.kge.relation_prediction import relation_loss

MODALITIES = ("visual", "textual")


def by_loops(model: Model, heads: list[int], tails: list[int], labels: list[int], weight: torch.Tensor) -> float:
    """−log softmax of each label over all rows of the relation tables, term by term."""
    views, values = model.encode().views, []
    for head, tail, label in zip(heads, tails, labels, strict=True):
        scores = []
        for relation in range(len(next(iter(model.relations.values())))):
            score = 0.0
            for term in model.fusion.terms:
                interaction, r = model.interaction_of(term), model.relations[term.relation][relation]
                score += term.weight * interaction.score(views[term.head][head], r, views[term.tail][tail]).item()
            scores.append(score)
        values.append(torch.tensor(scores).logsumexp(0).item() - scores[label])
    return float((weight * torch.tensor(values)).sum() / weight.sum())


@pytest.mark.parametrize("interaction", ["complex", "distmult", "rotate"])
@pytest.mark.parametrize("fusion", ["sum", "ikrl"])
@pytest.mark.parametrize("reciprocal", [False, True])
def test_relation_prediction_is_what_a_loop_gives(
    reciprocal: bool, fusion: str, interaction: str, make_model: Callable[..., Model], batch: Batch
) -> None:
    model = make_model(interaction={"name": interaction, "init": 0.5}, fusion=fusion, reciprocal=reciprocal).eval()
    weight = torch.linspace(1, 2, len(batch))
    batch = Batch(batch.triples, weight)
    heads, relations, tails = batch.triples.T.tolist()
    found = relation_loss(model, model.encode(), batch, [model.fusion.terms]).item()
    backward = [relation + 3 for relation in relations]
    if reciprocal:
        expected = by_loops(model, heads + tails, tails + heads, relations + backward, weight.repeat(2))
        asks_head = torch.arange(len(batch)) % 2 == 0
        turned = zip(heads, relations, tails, asks_head.tolist(), strict=True)
        rows = [(t, h, r + 3) if turn else (h, t, r) for h, r, t, turn in turned]
        one_way = Batch(batch.triples, weight, asks_head)
        assert relation_loss(model, model.encode(), one_way, [model.fusion.terms]).item() == pytest.approx(
            by_loops(model, *map(list, zip(*rows, strict=True)), weight), rel=1e-4
        )
    else:
        expected = by_loops(model, heads, tails, relations, weight)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_loss_enters_with_its_weight(make_model: Callable[..., Model], graph: Graph, batch: Batch) -> None:
    model = make_model(interaction="complex", fusion="sum", reciprocal=True).eval()
    train, loss = KnownTriples(graph.train, 30, 3), LOSSES.create("cross-entropy")
    losses = batch_losses(model, batch, [], loss, train, relation_weight=0.25).losses
    alone = relation_loss(model, model.encode(), batch, [model.fusion.terms])
    torch.testing.assert_close(losses["relations"], 0.25 * alone)
    assert "relations" not in batch_losses(model, batch, [], loss, train).losses


def test_fusions_whose_views_depend_on_the_relation_are_refused() -> None:
    loss = LOSSES.resolve("cross-entropy")
    config = ModelConfig(fusion="link-aware", reciprocal=True)
    assert "depend on the relation" in str(incompatibility(config, MODALITIES, None, loss, predicts_relations=True))
    assert incompatibility(config, MODALITIES, None, loss) is None
