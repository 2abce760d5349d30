"""Samplers that learn: NSCaching's cache grows harder, KBGAN's generator is rewarded, and both survive a kill."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, GeneratedNegatives, NegativeBlock
from mmkgc.components.kge.negatives.scoring import score_blocks

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


def steps(sampler: Any, model: Model, batch: Batch, context: Context, count: int) -> None:
    """Sample, score and update; the model itself stays as it is."""
    for _ in range(count):
        blocks = sampler.sample(batch, model)
        sampler.update(batch, batch_losses(model, batch, blocks, context.loss, context.train, None, sampler)[1], model)


def cached_score(sampler: Any, model: Model, graph: Graph) -> float:
    """Mean score of all that the tail queries of train have cached."""
    triples = torch.unique(graph.train, dim=0)
    places = sampler._places(triples, "tail")
    block = NegativeBlock(torch.arange(len(triples)), tail=EntityNegatives(sampler.cache[places].long()))
    return score_blocks(model, model.encode(), triples, [block])[1].mean().item()


def test_the_cache_fills_with_what_the_model_takes_for_true(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction={"name": "distmult", "init": 1.5}, fusion="structure").eval()
    context = make_context(model)
    sampler = SAMPLERS.create({"name": "nscaching", "count": 4, "size": 5, "candidates": 5}, context)
    batch = Batch(graph.train, torch.ones(len(graph.train)))
    before = cached_score(sampler, model, graph)
    sampler.begin_epoch(0, 1)
    steps(sampler, model, batch, context, 6)
    assert cached_score(sampler, model, graph) > before + 0.3
    assert 0 < sampler.metrics()["nscaching_renewed"] < 1


def test_nscaching_draws_from_the_cache_and_never_a_train_positive(
    make_model: MakeModel, make_context: MakeContext, batch: Batch, graph: Graph
) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    sampler: Any = SAMPLERS.create({"name": "nscaching", "count": 8, "size": 5}, make_context(model))
    known = KnownTriples(graph.train, 30, 3)
    from_cache = 0.0
    for block in sampler.sample(batch, model):
        side = "tail" if block.head is None else "head"
        drawn = (block.tail or block.head).ids
        triples = batch.triples[block.rows]
        assert not len(known.collisions(triples, side, drawn))
        cached = sampler.cache[sampler._places(triples, side)].long()
        from_cache += (drawn.unsqueeze(2) == cached.unsqueeze(1)).any(2).float().mean().item() / 2
    assert from_cache > 0.6  # the rest stand in for train positives, of which this small graph has many


def test_a_lazy_cache_is_renewed_in_some_epochs(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    context = make_context(model)
    sampler: Any = SAMPLERS.create({"name": "nscaching", "count": 2, "lazy": 1}, context)
    changed = []
    for epoch in range(4):
        sampler.begin_epoch(epoch, 4)
        before = sampler.cache.clone()
        steps(sampler, model, batch, context, 1)
        changed.append(not torch.equal(before, sampler.cache))
    assert changed == [True, False, True, False]


def test_kbgans_generator_learns_what_the_model_takes_for_true(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction={"name": "distmult", "init": 1.5}, fusion="structure").eval()
    context = make_context(model)
    torch.manual_seed(3)
    chosen = {"name": "kbgan", "count": 4, "candidates": 8, "pretrain": 0, "lr": 0.05}
    sampler: Any = SAMPLERS.create(chosen, context)
    batch = Batch(graph.train, torch.ones(len(graph.train)))
    rewards = []
    for epoch in range(12):
        sampler.begin_epoch(epoch, 12)
        steps(sampler, model, batch, context, 4)
        rewards.append(sampler.metrics()["kbgan_reward"])
    assert rewards[-1] > rewards[0] + 0.3
    sampler.begin_epoch(12, 13)
    assert sampler.baseline[0].item() == pytest.approx(rewards[-1], rel=1e-4)


def test_kbgans_generator_is_trained_alone_first(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    """After pretraining, it prefers the positive to its candidates."""
    model = make_model(fusion="structure")
    shares = []
    for pretrain in (0, 60):
        torch.manual_seed(3)
        sampler: Any = SAMPLERS.create({"name": "kbgan", "pretrain": pretrain, "lr": 0.02}, make_context(model))
        sampler.begin_epoch(0, 1)
        everyone = torch.arange(30).expand(len(graph.train), -1)
        scores = sampler.generator(graph.train, "tail", everyone).softmax(-1)
        shares.append(scores.gather(1, graph.train[:, 2:]).mean().item())
    assert shares[1] > 1.5 * shares[0]


@pytest.mark.parametrize("name", ["margin", "self-adversarial"])
def test_a_negative_without_weight_counts_for_nothing(name: str) -> None:
    loss: Any = LOSSES.create(name)
    positive, negative = torch.tensor([1.0]), torch.tensor([[0.5, 9.0, -1.0]])
    weights = torch.tensor([[1.0, 0.0, 1.0]])
    torch.testing.assert_close(loss(positive, negative, weights), loss(positive, negative[:, [0, 2]]))
    torch.testing.assert_close(loss(positive, negative, torch.ones(1, 3)), loss(positive, negative))


def test_weights_of_negatives_reach_the_loss(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    context = make_context(model, "margin")
    rows = torch.arange(4)
    ids, weights = torch.arange(12).view(4, 3), torch.tensor([[1.0, 1.0, 0.0]]).expand(4, -1)
    weighed = NegativeBlock(rows, tail=EntityNegatives(ids), negative_weights=weights)
    fewer = NegativeBlock(rows, tail=EntityNegatives(ids[:, :2]))
    one, other = (batch_losses(model, batch, [b], context.loss, context.train).losses for b in (weighed, fewer))
    torch.testing.assert_close(one["negatives"], other["negatives"])


def test_a_generated_positive_takes_the_place_of_the_batchs_own(make_model: MakeModel, batch: Batch) -> None:
    model = make_model(interaction="distmult", fusion="adamf").eval()
    rows, encoded = torch.arange(4), model.encode()
    own = encoded.modal.rows(batch.heads[rows].unsqueeze(1))
    changed = GeneratedNegatives(ModalityEmbeddings({m: 2 * v for m, v in own.vectors.items()}, own.present))
    block = NegativeBlock(rows, tail=EntityNegatives(torch.arange(8).view(4, 2)), positive_head=changed)
    positive, negative = score_blocks(model, encoded, batch.triples, [block])
    tail = encoded.modal.rows(batch.tails[rows].unsqueeze(1))
    expected = model.score_modal(changed.modal, batch.relations[rows].unsqueeze(1), tail)
    torch.testing.assert_close(positive, expected.squeeze(1))
    assert negative.shape == (4, 2)
    plain, _ = score_blocks(model, encoded, batch.triples, [replace(block, positive_head=None)])
    assert not torch.allclose(plain, positive)


def test_scored_blocks_hold_what_the_loss_saw(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="rotate", fusion="adamf")
    context = make_context(model)
    sampler = SAMPLERS.create({"name": "mat", "count": 3}, context)
    blocks = sampler.sample(batch, model)
    scored = batch_losses(model, batch, blocks, context.loss, context.train, None, sampler).scored
    assert [len(each.block.rows) for each in scored] == [len(each.positive) for each in scored]
    for block, positive, negative in scored[:2]:
        again = score_blocks(model, model.encode(), batch.triples, [block])
        torch.testing.assert_close((positive, negative), again)
        assert not positive.requires_grad
