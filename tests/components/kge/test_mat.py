"""MAT: its fakes, its two losses, and what it is without weight."""

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.batch_loss import batch_losses
from mmkgc.components.kge.entity_encoders.base import ModalityEmbeddings
from mmkgc.components.kge.model import Model
from mmkgc.components.kge.negatives.samples import Batch, GeneratedNegatives
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.kge.tensors import total
from tests.components.kge.sampling import MakeContext, MakeModel, assert_same_bits, loss_and_gradients, refined, sampler


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
