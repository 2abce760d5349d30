"""Strategies: what may be drawn, how often, and which of them coincide bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context, NegativeSampler
from mmkgc.components.kge.negatives.corruption import Corruption, head_share
from mmkgc.components.kge.negatives.samples import Batch, EntityNegatives, GeneratedNegatives, NegativeBlock, ids_of
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.tensors import total

MakeModel, MakeContext = Callable[..., Model], Callable[..., Context]


def sampler(name: str, context: Context, **parameters: Any) -> NegativeSampler:
    torch.manual_seed(9)
    return SAMPLERS.create({"name": name, **parameters}, context)


def refined(chosen: NegativeSampler, batch: Batch, model: Model) -> list[NegativeBlock]:
    """The blocks that the loss sees."""
    blocks = chosen.sample(batch, model)
    return chosen.refine(batch, blocks, model.encode(ids_of(batch.triples, blocks)), model)


def ids_and_parts(blocks: list[NegativeBlock]) -> list[Tensor]:
    """Everything that is drawn, in order."""
    drawn: list[Tensor] = []
    for block in blocks:
        side = block.head or block.tail
        assert isinstance(side, EntityNegatives)
        drawn += [block.rows, side.ids, *side.parts.values()]
    return drawn


def loss_and_gradients(model: Model, batch: Batch, blocks: list[NegativeBlock], context: Context) -> list[Tensor]:
    losses = batch_losses(model, batch, blocks, context.loss, context.train).losses
    loss = total(losses.values())
    return [loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)]


def assert_same_bits(left: list[Tensor | None], right: list[Tensor | None]) -> None:
    for ours, theirs in zip(left, right, strict=True):
        assert (ours is None and theirs is None) or torch.equal(ours, theirs)


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


def test_mat_without_weight_is_adamf_bit_for_bit(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    results = []
    for name, parameters in (("mat", {"weight": 0.0}), ("bernoulli", {})):
        model = make_model(interaction="rotate", fusion="adamf")
        context = make_context(model)
        chosen = sampler(name, context, count=4, **parameters)
        blocks = refined(chosen, batch, model)
        results.append(loss_and_gradients(model, batch, blocks, context))
        chosen.update(batch, blocks, model)
    assert_same_bits(*results)


@pytest.mark.parametrize(("groups", "reciprocal"), [(1, False), (3, False), (1, True)])
def test_mat_adds_three_fakes_a_group_each_with_its_positive(
    groups: int, reciprocal: bool, make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="rotate", fusion="adamf", reciprocal=reciprocal)
    context = make_context(model)
    blocks = refined(sampler("mat", context, count=4, weight=0.1, groups=groups), batch, model)
    fakes = [block for block in blocks if block.name == "adversarial"]
    assert [(block.head is not None, block.tail is not None) for block in fakes] == [
        (True, False),
        (False, True),
        (True, True),
    ]
    by_hand = torch.zeros(())
    for block in fakes:
        head, tail = (
            _modal_of(model, ids[block.rows], fake)
            for ids, fake in ((batch.heads, block.head), (batch.tails, block.tail))
        )
        fake = model.score_modal(head, batch.relations[block.rows], tail)
        true = model.score_triples(batch.triples[block.rows])
        by_hand += 0.1 / groups * context.loss(true, fake.unsqueeze(1)).sum() / len(batch)  # type: ignore[attr-defined]
    losses = batch_losses(model, batch, blocks, context.loss, context.train).losses
    assert losses["adversarial"].item() == pytest.approx(by_hand.item(), rel=1e-5)


def _modal_of(model: Model, ids: Tensor, fake: GeneratedNegatives | None) -> ModalityEmbeddings:
    if fake is None:
        return model.entities.encode(ids)
    parts = fake.modal.vectors, fake.modal.present
    vectors, present = ({m: part.squeeze(1) for m, part in each.items()} for each in parts)
    return ModalityEmbeddings(vectors, present)


def test_the_generators_step_leaves_the_model_alone(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    model = make_model(interaction="rotate", fusion="adamf")
    context = make_context(model)
    chosen = sampler("mat", context, count=4, weight=0.1)
    blocks = refined(chosen, batch, model)
    total(batch_losses(model, batch, blocks, context.loss, context.train).losses.values()).backward()
    assert all(parameter.grad is None for parameter in chosen.parameters())
    model.zero_grad()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    generators = [parameter.clone() for parameter in chosen.parameters()]
    chosen.update(batch, blocks, model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(not torch.equal(old, new) for old, new in zip(generators, chosen.parameters(), strict=True))


def test_one_forward_pass_serves_the_models_step_and_the_generators(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    """The gradients of both are those of fakes that are generated for each anew, without detours."""
    model = make_model(interaction="rotate", fusion="adamf")
    context = make_context(model)
    chosen = sampler("mat", context, weight=1.0, fakes=["both"])
    twin = context.generator.clone_state()
    (block,) = chosen.refine(batch, [], model.encode(), model)
    loss = batch_losses(model, batch, [block], context.loss, context.train).losses["adversarial"]
    (of_structure,) = torch.autograd.grad(loss, [model.entities.structure])

    structure = model.entities.structure[torch.stack([batch.heads, batch.tails])]
    noise = {m: torch.randn(*structure.shape[:2], chosen.noise, generator=twin) for m in chosen.generators}
    made = {m: chosen.generators[m](torch.cat([noise[m], structure], dim=-1)) for m in noise}
    vectors = {"structure": structure, **made}
    present = dict.fromkeys(vectors, torch.ones(len(batch), dtype=torch.bool))
    head, tail = (ModalityEmbeddings({m: both[side] for m, both in vectors.items()}, present) for side in (0, 1))
    fake, true = model.score_modal(head, batch.relations, tail), model.score_triples(batch.triples)
    by_hand = context.loss(true, fake.unsqueeze(1)).mean()
    (expected,) = torch.autograd.grad(by_hand, [model.entities.structure], retain_graph=True)
    torch.testing.assert_close(of_structure, expected)

    swapped = context.loss(fake, true.detach().unsqueeze(1)).mean()
    expected_of_generators = torch.autograd.grad(swapped, list(chosen.generators.parameters()))
    chosen.update(batch, [], model)
    for parameter, wanted in zip(chosen.generators.parameters(), expected_of_generators, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


def test_generators_learn_to_score_well(make_model: MakeModel, make_context: MakeContext, batch: Batch) -> None:
    model = make_model(interaction="rotate", fusion="adamf")
    context = make_context(model, {"name": "self-adversarial", "margin": 3})
    chosen = sampler("mat", context, weight=0.1, lr=0.01)

    def score() -> float:
        blocks = [block for _ in range(5) for block in refined(chosen, batch, model) if block.name == "adversarial"]
        encoded = model.encode()
        return sum(score_blocks(model, encoded, batch.triples, [block])[1].mean().item() for block in blocks)

    first = score()
    for _ in range(60):
        chosen.update(batch, refined(chosen, batch, model), model)
    assert score() > first


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


def test_the_adversarial_loss_does_not_grow_with_the_groups_of_noise(
    make_model: MakeModel, make_context: MakeContext, batch: Batch
) -> None:
    """Averaged over L groups, as the generators' own loss is (Zhang et al. 2024, eq. 10)."""
    model = make_model(interaction="rotate", fusion="adamf")
    context = make_context(model)
    losses = []
    for groups in (1, 8):
        chosen = sampler("mat", context, count=4, weight=0.1, groups=groups)
        blocks = chosen.sample(batch, model)
        found = batch_losses(model, batch, blocks, context.loss, context.train, None, chosen).losses
        losses.append(found["adversarial"].item())
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
