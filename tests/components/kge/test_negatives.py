"""Strategies: what may be drawn, how often, and which of them coincide bit for bit."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.corruption import Corruption, head_share
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives
from tests.components.kge.sampling import (
    MakeContext,
    MakeModel,
    assert_same_bits,
    ids_and_parts,
    loss_and_gradients,
    refined,
    sampler,
)


@settings(max_examples=25, deadline=None)
@given(entities=st.integers(2, 12), count=st.integers(1, 6), share=st.floats(0.1, 0.9), seed=st.integers(0, 999))
def test_no_train_triple_is_drawn(entities: int, count: int, share: float, seed: int) -> None:
    """Dense graphs, where most draws hit a positive; a query that every entity answers keeps its draws."""
    random = torch.Generator().manual_seed(seed)
    triples = (torch.rand(entities, 2, entities, generator=random) < share).nonzero()
    if not len(triples):
        return
    names = tuple(map(str, range(entities)))
    graph = Graph(Vocabulary(names, names), Vocabulary(names[:2], names[:2]), triples, triples[:0], triples[:0])
    known = KnownTriples(triples, entities, 2)
    corruption = Corruption(Context(None, graph, known, random, LOSSES.create("margin")), "bernoulli")  # type: ignore[arg-type]
    seen = 0
    for rows, side, ids in corruption(Batch(triples, torch.ones(len(triples))), count):
        free = entities - known.answers(*_query(triples[rows], side), side)[0].bincount(minlength=len(rows))
        assert not len(known.collisions(triples[rows[free > 0]], side, ids[free > 0]))
        seen += len(rows)
    assert seen == len(triples)


def _query(triples: Tensor, side: str) -> tuple[Tensor, Tensor]:
    return triples[:, 0 if side == "tail" else 2], triples[:, 1]


def test_every_allowed_entity_is_drawn_as_often(graph: Graph, make_model: MakeModel, make_context: MakeContext) -> None:
    context = make_context(make_model())
    triples = graph.train[:1].expand(4000, 3)
    ids = Corruption(context, "uniform").replacements(triples, "tail", 5)
    counts = ids.flatten().bincount(minlength=len(graph.entities))
    allowed = len(graph.entities) - len(context.train.tails(triples[:1, 0], triples[:1, 1])[0])
    assert (counts > 0).sum() == allowed
    expected = ids.numel() / allowed
    assert (counts[counts > 0] - expected).abs().max() < 5 * expected**0.5


def test_bernoulli_corrupts_heads_with_tph_over_tph_plus_hpt(make_model: MakeModel, make_context: MakeContext) -> None:
    triples = torch.tensor([[0, 0, tail] for tail in range(1, 7)] + [[1, 1, 2], [3, 1, 2], [4, 1, 5]])
    share = head_share(triples, 3)
    assert share.tolist() == pytest.approx([6 / 7, 1 / (1 + 1.5), 0.5])
    context = make_context(make_model())
    corruption = Corruption(context, "bernoulli")
    relation = int(context.graph.train[0, 1])
    drawn = Batch(context.graph.train[:1].expand(20_000, 3), torch.ones(20_000))
    heads = sum(len(rows) for rows, side, _ in corruption(drawn, 1) if side == "head")
    expected = head_share(context.graph.train, 3)[relation].item()
    assert heads / 20_000 == pytest.approx(expected, abs=0.02)


def test_mans_v_keeps_structure_and_exchanges_features(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="transe", fusion="ikrl")
    context = make_context(model)
    for block in sampler("mans-v", context, count=3).sample(batch, model):
        side, gold = (block.head, batch.heads) if block.head else (block.tail, batch.tails)
        assert isinstance(side, EntityNegatives)
        assert torch.equal(side.of("structure"), gold[block.rows].unsqueeze(1).expand(-1, 3))
        assert (side.of("visual") != side.of("structure")).any()


@pytest.mark.parametrize("fusion", ["ikrl", "tbkgc", "adamf"])
@pytest.mark.parametrize(("beta", "same_as"), [(0.0, "bernoulli"), (1.0, "mans-v")])
def test_mans_h_at_its_ends_is_normal_sampling_or_mans_v(
    fusion: str, beta: float, same_as: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    results = []
    for name, parameters in (("mans-h", {"beta": beta}), (same_as, {})):
        model = make_model(interaction="transe", fusion=fusion)
        context = make_context(model)
        blocks = sampler(name, context, count=4, **parameters).sample(batch, model)
        results.append((ids_and_parts(blocks), loss_and_gradients(model, batch, blocks, context)))
    assert_same_bits(results[0][0], results[1][0])
    assert_same_bits(results[0][1], results[1][1])


@settings(max_examples=10, deadline=None)
@given(beta=st.floats(0, 1), count=st.integers(1, 4))
def test_mans_h_gives_the_share_beta_to_modality_aware_negatives(beta: float, count: int) -> None:
    """Counted over the whole batch, both sides together."""
    names = tuple(map(str, range(20)))
    triples = torch.randint(20, (30, 3), generator=torch.Generator().manual_seed(1)) * torch.tensor([1, 0, 1])
    graph = Graph(Vocabulary(names, names), Vocabulary(("r",), ("r",)), triples, triples[:0], triples[:0])
    from mmkgc.components.kge.features import Features
    from mmkgc.components.kge.model import ModelConfig

    features = {"visual": Features(torch.randn(20, 3), torch.ones(20, dtype=torch.bool))}
    config = ModelConfig(dimension=4, interaction="transe", fusion="ikrl")
    model = Model(config, 1, features, torch.ones(20, dtype=torch.bool))
    context = Context(model, graph, KnownTriples(triples, 20, 1), torch.Generator(), LOSSES.create("margin"))
    drawn = sampler("mans-h", context, count=count, beta=beta).sample(Batch(triples, torch.ones(30)), model)
    kept = 0
    for block in drawn:
        side, column = (block.head, 0) if block.head else (block.tail, 2)
        assert isinstance(side, EntityNegatives)
        mixed = side.of("structure") != side.of("visual")
        kept += int(mixed.sum())
        assert (side.of("structure")[mixed] == triples[block.rows, column].unsqueeze(1).expand_as(mixed)[mixed]).all()
    chance = int(beta * count * 30)  # a modality-aware negative that drew the gold entity itself shows no difference
    assert kept <= chance
    assert kept >= chance * 0.7 - 3


def test_mans_t_changes_after_the_first_stage(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="transe", fusion="ikrl")
    two_stage = sampler("mans-t", make_context(model), count=2, beta=0.5)
    aware = []
    for epoch in range(4):
        two_stage.begin_epoch(epoch, 4)
        aware.append(any((block.head or block.tail).parts for block in two_stage.sample(batch, model)))
    assert aware == [True, True, False, False]


@pytest.mark.parametrize("measured", ["positives", "negatives"])
@pytest.mark.parametrize("rule", ["text", "equation"])
def test_mans_a_takes_equal_scores_for_nothing(
    rule: str, measured: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="transe", fusion="ikrl")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    adaptive = sampler("mans-a", make_context(model), count=2, rule=rule, measured=measured)
    blocks = refined(adaptive, batch, model)
    assert adaptive.metrics() == {"mans_beta": 0.0}
    assert not any((block.head or block.tail).parts for block in blocks)


@pytest.mark.parametrize("measured", ["positives", "negatives"])
def test_the_two_readings_of_mans_a_are_opposite(
    measured: str, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="transe", fusion="ikrl")
    betas = []
    for rule in ("text", "equation"):
        adaptive = sampler("mans-a", make_context(model), count=2, rule=rule, measured=measured)
        refined(adaptive, batch, model)
        betas.append(adaptive.metrics()["mans_beta"])
    assert 0 < betas[0] < 1
    assert sum(betas) == pytest.approx(1)


def test_mans_a_by_the_text_counts_positives_whose_cross_modal_distance_is_smaller(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="transe", fusion="ikrl")
    adaptive = sampler("mans-a", make_context(model))
    refined(adaptive, batch, model)
    h, r, t = (
        model.entities.encode(batch.heads),
        model.relations["relation"][batch.relations],
        model.entities.encode(batch.tails),
    )

    def distance(left: str, right: str) -> Tensor:
        return (h[left] + r - t[right]).abs().sum(-1)

    uni = distance("structure", "structure") + distance("visual", "visual")
    cross = distance("structure", "visual") + distance("visual", "structure")
    assert adaptive.metrics()["mans_beta"] == pytest.approx((cross < uni).float().mean().item())


@pytest.mark.parametrize(
    ("name", "fusion", "reason"),
    [
        ("mans-v", "structure", "is the positive"),
        ("mans-v", "mose", "scores structure apart"),
        ("mans-a", "adamf", "unimodal terms"),
        ("mat", "structure", "no image or text to generate"),
    ],
)
def test_pairs_that_cannot_work_are_refused_with_the_reason(
    name: str, fusion: str, reason: str, make_model: MakeModel
) -> None:
    model = make_model(interaction="transe", fusion=fusion)
    assert reason in str(SAMPLERS.lookup(name).incompatibility(model.fusion, model.interaction))


@pytest.mark.parametrize(("name", "settings"), [("mans-h", {"beta": 0.3}), ("mans-t", {"beta": 0.5}), ("mans-v", {})])
def test_which_epochs_may_be_selected(
    name: str, settings: dict[str, float], make_model: MakeModel, make_context: MakeContext
) -> None:
    """A model of MANS-T's first stage has learned to align modalities, not yet to tell entities apart."""
    chosen = sampler(name, make_context(make_model(interaction="transe", fusion="ikrl")), **settings)
    first_stage = name == "mans-t"
    assert [chosen.selectable(epoch, 10) for epoch in range(10)] == [not first_stage] * 5 + [True] * 5


def test_mans_a_takes_exactly_as_many_negatives_as_triples_on_which_the_cross_modal_terms_win(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    """Of 40 triples and one negative each, k wins are k modality-aware negatives: rounding must not lose one."""
    model = make_model(interaction="transe", fusion="ikrl")
    adaptive: Any = sampler("mans-a", make_context(model), count=1)
    for wins in range(41):
        adaptive._measure = lambda *_, wins=wins: (wins, 40)
        blocks = refined(adaptive, batch, model)
        aware = 0
        for block in blocks:
            if (side := block.head or block.tail).parts:  # type: ignore[union-attr]
                column = batch.heads if block.head else batch.tails
                aware += int(((block.rows < wins) & (side.ids[:, 0] == column[block.rows])).sum())  # type: ignore[union-attr]
                assert (side.ids[block.rows < wins, 0] == column[block.rows[block.rows < wins]]).all()  # type: ignore[union-attr]
                assert (side.ids[block.rows >= wins] == side.parts["visual"][block.rows >= wins]).all()  # type: ignore[union-attr]
        assert aware == wins
