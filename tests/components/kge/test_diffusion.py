"""The mathematics of diffusion, and what DHNS makes of it."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmkgc.components.kge.diffusion import Denoiser, Schedule, full_chain, sinusoids, strided_chain
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.negatives.base import Context
from mmkgc.components.kge.negatives.dhns import DHNS
from mmkgc.components.kge.negatives.samples import Batch, ids_of
from mmkgc.components.kge.negatives.scoring import score_blocks
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer

SCHEDULES = [Schedule("cosine", 50), Schedule("linear", 50)]


def test_the_default_schedule_ends_in_noise_and_the_papers_does_not() -> None:
    for steps in (20, 50, 1000):
        assert Schedule("cosine", steps).remaining[-1] < 0.01
    assert Schedule("linear", 50).remaining[-1] == pytest.approx(0.60, abs=0.01)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=["cosine", "linear"])
@pytest.mark.parametrize("step", [1, 2, 25, 49])
def test_the_true_noise_gives_the_posterior_mean(schedule: Schedule, step: int) -> None:
    """q(x_{t−1} | x_t, x₀) of DDPM, eq. 7."""
    clean, noise = torch.randn(2, 8, 5, dtype=torch.float64)
    state = schedule.noised(clean, torch.full((8,), step), noise)
    b, now, before = schedule.variance[step], schedule.remaining[step], schedule.remaining[step - 1]
    posterior = before**0.5 * b / (1 - now) * clean + (1 - b) ** 0.5 * (1 - before) / (1 - now) * state
    torch.testing.assert_close(schedule.mean(state, step, noise), posterior, atol=1e-9, rtol=1e-9)


def test_the_true_noise_leads_every_chain_to_the_true_vector() -> None:
    schedule, clean = Schedule("cosine", 50), torch.rand(8, 5, dtype=torch.float64)

    def true_noise(state: Tensor, step: int) -> Tensor:
        left = schedule.remaining[step]
        return (state - left**0.5 * clean) / (1 - left) ** 0.5

    start = torch.randn(8, 5, dtype=torch.float64)
    strided = strided_chain(schedule, start, (0, 10, 25), true_noise)
    full = full_chain(schedule, start, (0, 10, 25), true_noise, torch.Generator().manual_seed(0))
    for states in (strided, full):
        gaps = [(state - clean).norm().item() for state in states]
        assert gaps[0] < 1e-6
        assert gaps == sorted(gaps)


def make(model: Model, graph: Graph, **parameters: object) -> DHNS:
    sizes = len(graph.entities), len(graph.relations)
    random, loss = torch.Generator().manual_seed(0), LOSSES.create("self-adversarial")
    context = Context(model, graph, KnownTriples(graph.train, *sizes), random, loss)
    return DHNS(context, **parameters)  # type: ignore[arg-type]


@pytest.mark.parametrize("preset", ["default", "paper", "released"])
def test_no_gradient_of_the_diffusion_reaches_the_model(
    preset: str, graph: Graph, make_model: Callable[..., Model], batch: Batch
) -> None:
    model = make_model()
    dhns = make(model, graph, preset=preset, timesteps=20)
    sampled = dhns.sample(batch, model)
    blocks = dhns.refine(batch, sampled, model.encode(ids_of(batch.triples, sampled)), model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    dhns.update(batch, blocks, model)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in dhns.parameters())
    graded = [block for block in blocks if block.name == "graded"]
    for side in (graded[0].head, graded[1].tail):
        assert not any(vectors.requires_grad for vectors in side.modal.vectors.values())  # type: ignore[union-attr]


@pytest.mark.parametrize("positive", ["model", "modalities"])
@pytest.mark.parametrize("kept", ["modality", "structure", "fused"])
def test_scores_of_graded_blocks_are_those_of_eq_12_and_13(
    kept: str, positive: str, graph: Graph, make_model: Callable[..., Model], batch: Batch
) -> None:
    """Negatives: mean over modalities of the interaction, the kept side by its view; positives: the model's score."""
    model = make_model(interaction="transe", fusion="adamf", missing="random").eval()
    dhns = make(model, graph, timesteps=20, kept=kept, positive=positive)
    encoded = model.encode()
    blocks = dhns.refine(batch, [], encoded, model)
    names = list(dhns.denoisers)
    relation = model.relations["relation"][batch.triples[blocks[0].rows, 1]].unsqueeze(1)
    view = {"modality": None, "structure": "structure", "fused": "joint"}[kept]
    for block in blocks:
        rows = batch.triples[block.rows]
        parts = []
        for m in names:
            ends = []
            for made, ids in ((block.head, rows[:, 0]), (block.tail, rows[:, 2])):
                own = encoded.views[view or m][ids].unsqueeze(1)
                ends.append(own if made is None else made.modal[m])  # type: ignore[union-attr]
            parts.append(model.interaction.score(ends[0], relation, ends[1]))
        found = score_blocks(model, encoded, batch.triples, [block], block.terms)
        torch.testing.assert_close(found[1], sum(parts) / len(names))
        unimodal = [
            model.interaction.score(
                encoded.modal[m][rows[:, 0]].unsqueeze(1), relation, encoded.modal[m][rows[:, 2]].unsqueeze(1)
            ).squeeze(1)
            for m in names
        ]
        mean = sum(unimodal) / len(names)
        expected = model.score_triples(rows) if positive == "model" else mean
        if positive == "model" or kept == "modality":
            torch.testing.assert_close(found[0], expected)


def test_levels_margins_and_weights_replace_the_presets(graph: Graph, make_model: Callable[..., Model]) -> None:
    model = make_model()
    dhns = make(model, graph, levels=(0.1, 0.5), margins=(1, 1), weights=(0.2, 0.8), timesteps=20)
    assert dhns.stops == [2, 10]
    assert dhns.loss.margins.tolist() == [1, 1]
    with pytest.raises(UserError, match="differ in number"):
        make(model, graph, levels=(0.1, 0.5))


def test_choices_that_the_model_cannot_serve_are_refused(graph: Graph, make_model: Callable[..., Model]) -> None:
    with pytest.raises(UserError, match="makes no fused vector"):
        make(make_model(fusion="ikrl"), graph, kept="fused")
    with pytest.raises(UserError, match="reciprocal"):
        make(make_model(reciprocal=True), graph, kept="structure")
    with pytest.raises(UserError, match="no structural vectors"):
        make(make_model(structure=False), graph, kept="structure")


def test_the_papers_denoiser_ends_in_a_layer_norm_and_has_another_time_base() -> None:
    state, step = torch.randn(5, 8), torch.tensor([3])
    estimate = Denoiser(8, 16, normalised=True, base=1000.0)(state, state, step)
    torch.testing.assert_close(estimate.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(estimate.var(1, unbiased=False), torch.ones(5), atol=1e-3, rtol=0)
    assert Denoiser(8, 16)(state, state, step).eq(0).all()
    assert sinusoids(step, 8, 1000.0)[0, 1] == pytest.approx(math.sin(3 * 1000 ** (-2 / 8)), rel=1e-5)


def test_heads_and_tails_have_chains_of_their_own(graph: Graph, make_model: Callable[..., Model], batch: Batch) -> None:
    """What is made for the heads does not move when the tails' conditions do."""
    model = make_model(fusion="structure")
    made = []
    for shift in (0.0, 5.0):
        dhns = make(model, graph, preset="paper", timesteps=20)
        with torch.no_grad():
            torch.manual_seed(1)
            for parameter in dhns.parameters():
                parameter.copy_(torch.randn(parameter.shape) / 10)
        query = model.query

        def shifted(known: Tensor, modality: str, relations: Tensor, side: str, shift: float = shift) -> Tensor:
            return query(known, modality, relations, side) + (shift if side == "tail" else 0)  # type: ignore[arg-type]  # noqa: B023

        model.query = shifted  # type: ignore[method-assign, assignment]
        head, tail = dhns._virtual_pair(batch.triples, model.encode(), model)
        model.query = query  # type: ignore[method-assign]
        made.append((head.modal["structure"], tail.modal["structure"]))
    assert torch.equal(made[0][0], made[1][0])
    assert not torch.equal(made[0][1], made[1][1])


def test_without_conditions_negatives_do_not_depend_on_the_query(
    graph: Graph, make_model: Callable[..., Model], batch: Batch
) -> None:
    model = make_model(fusion="structure")
    for conditioned in (True, False):
        targets = make(model, graph, conditioned=conditioned)._targets(
            "structure", batch.triples, model.encode(), model
        )
        assert targets.conditions.any().item() == conditioned


@pytest.mark.parametrize("interaction", ["transe", "distmult", "rotate"])
def test_virtual_entities_are_harder_for_smaller_t(interaction: str) -> None:
    """After some epochs on a graph with structure, ‖negative − true‖ grows strictly with the level."""
    size, relations = 40, 4
    triples = torch.tensor([[e, r, (e + 5 * r + 1) % size] for e in range(size) for r in range(relations)])
    names = tuple(map(str, range(size)))
    graph = Graph(Vocabulary(names, names), Vocabulary(names[:4], names[:4]), triples, triples[:0], triples[:0])
    config = TrainConfig(
        model={"dimension": 8, "interaction": interaction, "fusion": "structure"},
        negatives={"name": "dhns", "count": 4, "lr": 0.005},
        loss={"name": "self-adversarial", "margin": 0 if interaction == "distmult" else 6},
        optimizer={"lr": 0.02},
        batch_size=160,
        epochs=25,
    )
    metrics: list[dict[str, float]] = []
    Trainer(graph, {}, config).fit(lambda epoch, values: metrics.append(values))
    distances = [value for name, value in metrics[-1].items() if name.startswith("dhns_distance_t")]
    assert len(distances) == 4
    assert distances == sorted(distances)
    assert distances[-1] > 1.02 * distances[0]
    assert metrics[-1]["dhns_distance_uniform"] > 0


def test_projections_by_the_relation_are_refused() -> None:
    model = Model(ModelConfig(dimension=4, interaction="transd", fusion="structure"), 1, {}, torch.ones(5).bool())
    assert "none in the space of the entities" in str(
        SAMPLERS.lookup("dhns").incompatibility(model.fusion, model.interaction)
    )
