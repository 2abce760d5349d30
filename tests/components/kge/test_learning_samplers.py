"""Samplers that learn: caches and generators grow harder, picks pass gradients on, and all survive a kill."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.compatibility import incompatibility
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model, ModelConfig
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


def test_nscaching_scores_features_with_the_vectors_of_the_epochs_beginning(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="distmult", fusion="sum")
    sampler: Any = SAMPLERS.create({"name": "nscaching", "count": 4, "size": 5}, make_context(model))
    sampler.begin_epoch(0, 2)
    sampler.sample(batch, model)
    assert not list(sampler.further_ids())
    begun = model.eval().encode().views
    assert all(torch.equal(view, begun[name]) for name, view in sampler.encoded.views.items())
    first, before = sampler.encoded, sampler.cache.clone()
    with torch.no_grad():
        model.entities.structural_table().add_(1)
    sampler.update(batch, [], model)
    sampler.sample(batch, model)
    assert sampler.encoded is first
    assert not torch.equal(before, sampler.cache)
    sampler.begin_epoch(1, 2)
    sampler.sample(batch, model)
    assert not torch.equal(sampler.encoded.views["structure"], first.views["structure"])


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


def test_igans_generator_is_rewarded_for_what_the_model_takes_for_true(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction={"name": "distmult", "init": 1.5}, fusion="structure").eval()
    context = make_context(model)
    torch.manual_seed(3)
    sampler: Any = SAMPLERS.create({"name": "igan", "count": 4, "lr": 0.02}, context)
    batch = Batch(graph.train, torch.ones(len(graph.train)))
    rewards = []
    for epoch in range(10):
        sampler.begin_epoch(epoch, 10)
        steps(sampler, model, batch, context, 4)
        rewards.append(sampler.metrics()["igan_reward"])
    assert rewards[-1] > rewards[0] + 0.3
    for block in sampler.sample(batch, model):
        side = "tail" if block.head is None else "head"
        assert not len(context.train.collisions(batch.triples[block.rows], side, (block.tail or block.head).ids))


def test_igan_draws_from_its_softmax_over_all_entities_that_make_no_train_triple(
    make_model: MakeModel, make_context: MakeContext, graph: Graph
) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    context = make_context(model)
    sampler: Any = SAMPLERS.create({"name": "igan", "count": 20_000}, context)
    positives = context.train.answers(graph.train[:1, 0], graph.train[:1, 1], "tail")
    expected = sampler.generator(graph.train[:1, 0], graph.train[:1, 1], "tail", positives).exp()
    assert expected[0, positives[1]].eq(0).all()
    counts = sampler._draw(expected.detach())[0].bincount(minlength=30) / 20_000
    torch.testing.assert_close(counts, expected[0].detach(), atol=0.01, rtol=0)


def mmrns(context: Context, **settings: Any) -> Any:
    torch.manual_seed(5)
    return SAMPLERS.create({"name": "mmrns", "count": 3, "candidates": 12, **settings}, context)


def test_mmrns_learns_from_the_model_through_the_straight_through_pick_alone(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    """Forward the picked entities; backward what the pool's mean by the proposal would get."""
    model = make_model(interaction="distmult", fusion="sum")
    context = make_context(model, "margin")
    sampler = mmrns(context)
    blocks = sampler.sample(batch, model)
    encoded = model.encode(
        [batch.heads, batch.tails, *(b.tail.ids if b.tail else b.head.ids for b in blocks), sampler.pool]
    )
    refined = sampler.refine(batch, blocks, encoded, model)
    for real, picked in zip(blocks, refined, strict=True):
        expected, found = (score_blocks(model, encoded, batch.triples, [block])[1] for block in (real, picked))
        torch.testing.assert_close(found, expected)
        (proposal,) = [p for p in sampler.proposals if p.ids is (real.tail or real.head).ids]
        vectors = (picked.tail or picked.head).modal.vectors
        upstream = dict(
            zip(vectors, torch.autograd.grad(found.sum(), list(vectors.values()), retain_graph=True), strict=True)
        )
        (arrived,) = torch.autograd.grad(found.sum(), [proposal.leaf])
        pool = encoded.index(sampler.pool)
        by_hand = sum(upstream[m].sum(1) @ encoded.modal[m][pool].T for m in vectors)
        torch.testing.assert_close(arrived, by_hand.detach())
    losses = batch_losses(model, batch, blocks, context.loss, context.train, None, sampler).losses
    losses["negatives"].backward()
    assert all(parameter.grad is None for parameter in sampler.parameters())
    before = [parameter.clone() for parameter in sampler.parameters()]
    sampler.contrast = 0.0
    sampler.update(batch, [], model)
    assert all(not torch.equal(old, new) for old, new in zip(before, sampler.parameters(), strict=True))


def test_mmrns_proposes_what_resembles_the_positive_as_far_as_the_relation_looks(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="distmult", fusion="sum")
    context = make_context(model)
    sampler = mmrns(context, candidates=30)
    pictured = (batch.tails % 3 > 0).nonzero().squeeze(1)[:5]
    gold, relations = batch.tails[pictured], batch.relations[pictured]
    image = model.entities.raw("visual").vectors
    compared = sampler.projections["visual"](image)
    gate = sampler.gates["visual"](sampler.relations[relations]).sigmoid().unsqueeze(1)
    expected = torch.cosine_similarity(gate * compared[gold].unsqueeze(1), gate * compared, dim=-1)
    found = sampler._similarity("visual", image[gold], relations, compared)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    sampler.steps.fill_(10**9)
    sampler.pool = torch.arange(30)
    positive = torch.zeros(5, 30, dtype=torch.bool).scatter_(1, gold.unsqueeze(1), True)
    proposal = sampler._propose([(5 * expected).masked_fill(positive, -1e9)], positive, torch.zeros(5, 3).long())
    others = expected[~positive]
    assert expected.gather(1, proposal.ids).mean() > others.mean() + others.std()


def test_mmrns_compares_features_that_the_model_does_not_use(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="distmult", fusion="structure")
    sampler = mmrns(make_context(model))
    assert set(sampler.projections) == {"structure", "visual", "textual"}
    before = [parameter.clone() for parameter in sampler.parameters()]
    steps(sampler, model, batch, make_context(model), 1)
    assert all(not torch.equal(old, new) for old, new in zip(before, sampler.parameters(), strict=True))
    choice, loss = SAMPLERS.resolve("mmrns"), LOSSES.resolve("margin")
    assert incompatibility(ModelConfig(fusion="structure"), ("textual",), choice, loss) is None
    assert "there are no features" in str(incompatibility(ModelConfig(fusion="structure"), (), choice, loss))


def test_mmrns_never_picks_a_train_positive_nor_an_entity_twice(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="distmult", fusion="sum")
    context = make_context(model)
    for block in mmrns(context, count=8, candidates=30).sample(batch, model):
        side, ids = ("tail", block.tail.ids) if block.head is None else ("head", block.head.ids)
        assert not len(context.train.collisions(batch.triples[block.rows], side, ids))
        free = 30 - context.train.answers(block_known(batch, block.rows, side), batch.relations[block.rows], side)[
            0
        ].bincount(minlength=len(ids))
        distinct = torch.tensor([len(row.unique()) for row in ids])
        assert distinct[free >= 8].eq(8).all()


def block_known(batch: Batch, rows: torch.Tensor, side: str) -> torch.Tensor:
    """The entities that are kept."""
    return (batch.heads if side == "tail" else batch.tails)[rows]
