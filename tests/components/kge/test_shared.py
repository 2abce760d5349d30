"""Shared negatives: few entities for many positives, scored at once as they would be one by one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.kernels.lookup import Positions
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, NegativeBlock, ids_of
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.negatives.shared import Shared

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]
MODELS: list[dict[str, Any]] = [
    {"interaction": "complex", "fusion": "sum"},
    {"interaction": "complex", "fusion": "sum", "reciprocal": True},
    {"interaction": "rotate", "fusion": "mose"},
    {"interaction": "transd", "fusion": "adamf"},
    {"interaction": "transe", "fusion": "link-aware"},  # its views depend on the relation
]


def shared_blocks(make_context: MakeContext, model: Model, batch: Batch, count: int, group: int) -> list[NegativeBlock]:
    return Shared(make_context(model), count=count, group=group).sample(batch, model)


def entities_of(block: NegativeBlock) -> EntityNegatives:
    negatives = block.tail if block.head is None else block.head
    assert isinstance(negatives, EntityNegatives)
    return negatives


def test_a_group_shares_its_entities(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(**MODELS[0])
    blocks = shared_blocks(make_context, model, batch, count=4, group=16)
    assert sorted(torch.cat([block.rows for block in blocks]).tolist()) == list(range(40))
    for block in blocks:
        negatives = entities_of(block)
        assert len(block.rows) <= 16
        assert negatives.pool is not None
        assert torch.equal(negatives.pool[negatives.places], negatives.ids)
        assert (negatives.ids == negatives.pool[:4]).float().mean() > 0.5


def test_an_entity_that_makes_a_train_triple_is_replaced_for_that_positive_alone(
    make_model: MakeModel, make_context: MakeContext, batch: Batch, graph: Graph
) -> None:
    model = make_model(**MODELS[0])
    known = KnownTriples(graph.train, len(graph.entities), len(graph.relations))
    replaced = 0
    for block in shared_blocks(make_context, model, batch, count=16, group=64):
        negatives, side = entities_of(block), "tail" if block.head is None else "head"
        triples = batch.triples[block.rows]
        assert not len(known.collisions(triples, side, negatives.ids))
        assert negatives.pool is not None
        proposed = negatives.pool[:16].repeat(len(triples), 1)
        collided = torch.zeros(proposed.numel(), dtype=torch.bool)
        collided[known.collisions(triples, side, proposed)] = True
        assert torch.equal(negatives.ids != proposed, collided.view_as(proposed))
        replaced += int(collided.sum())
    assert replaced


@pytest.mark.parametrize("settings", MODELS, ids=lambda settings: "-".join(map(str, settings.values())))
def test_scores_and_gradients_are_those_of_single_candidates(
    settings: dict[str, Any], make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    found = []
    for pooled in (True, False):
        model = make_model(**settings)
        blocks = shared_blocks(make_context, model, batch, count=5, group=8)
        if not pooled:
            alone = {"pool": None, "places": None}
            blocks = [
                NegativeBlock.of(
                    block.rows, "tail" if block.head is None else "head", replace(entities_of(block), **alone)
                )
                for block in blocks
            ]
        encoded = model.encode(ids_of(batch.triples, blocks))
        positive, negative = score_blocks(model, encoded, batch.triples, blocks)
        (positive.sum() - negative.square().sum()).backward()
        gradients = [each.grad for each in model.parameters() if each.grad is not None]
        found.append([positive, negative, *gradients])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_distinct_ids_ascend_and_have_places() -> None:
    tensors = [torch.tensor([[7, 3], [7, 9]]), torch.tensor([0, 9])]
    positions = Positions(tensors, 11)
    assert positions.ids.tolist() == [0, 3, 7, 9]
    assert torch.equal(positions.ids[positions.of(tensors[0])], tensors[0])
    with pytest.raises(IndexError, match=r"\[2, 10\]"):
        positions.of(torch.tensor([3, 10, 2]))
