"""All ways to ask an interaction against each other, and what single interactions promise."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction, Query, Side
from mmkgc.components.kge.interactions.transe import TransE
from tests.components.kge.interactions import make, tables

OWN_CASES = ("transe", "tucker")
CASES: list[dict[str, Any]] = [
    {"name": "transe", "p": 1},
    {"name": "transe", "p": 2, "normalize": True},
    {"name": "tucker", "normalise": False},
    *({"name": name} for name in INTERACTIONS.classes() if name not in OWN_CASES),
]
every_interaction = pytest.mark.parametrize("choice", CASES, ids=lambda choice: "-".join(map(str, choice.values())))


def sides_of(interaction: Interaction) -> tuple[Side, ...]:
    """The sides that can be asked for without reciprocal relations."""
    return ("tail",) if interaction.incompatibility(reciprocal=False) else ("head", "tail")


@every_interaction
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 6), count=st.integers(1, 5))
def test_all_ways_to_ask_agree_in_scores_and_gradients(
    choice: dict[str, Any], seed: int, rows: int, count: int
) -> None:
    interaction = make(choice)
    entity, relation = tables(interaction, seed)
    random = torch.Generator().manual_seed(seed)
    known, asked = (torch.randint(size, (rows,), generator=random) for size in (len(entity), len(relation)))
    index = torch.randint(len(entity), (rows, count), generator=random)
    for side in sides_of(interaction):
        ours, r, theirs = entity[known].unsqueeze(1), relation[asked].unsqueeze(1), entity.unsqueeze(0)
        triples = interaction.score(ours, r, theirs) if side == "tail" else interaction.score(theirs, r, ours)
        everyone = interaction.score_all(entity[known], relation[asked], entity, side)
        candidates = interaction.score_candidates([(entity[known], relation[asked], side)], entity, index)
        _assert_same(triples, everyone, entity, relation)
        _assert_same(triples.gather(1, index), candidates, entity, relation)
    heads, tails = entity[known], entity[index[:, 0]]
    pairs_of_relations = interaction.score(heads.unsqueeze(1), relation.unsqueeze(0), tails.unsqueeze(1))
    _assert_same(pairs_of_relations, interaction.score_relations(heads, tails, relation), entity, relation)
    one, many, r = entity[known].unsqueeze(1), entity[index], relation[asked].unsqueeze(1)
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    for (i, j), crossed in zip(pairs, interaction.score_crossed([one, many], r, [one, many], pairs), strict=True):
        _assert_same(interaction.score([one, many][i], r, [one, many][j]), crossed, entity, relation)
    first = sides_of(interaction)[0]
    groups: list[Query] = [(entity[known], relation[asked], first), (entity[known[:1]], relation[asked[:1]], "tail")]
    for group, scores in zip(groups, interaction.score_sides(groups, entity), strict=True):
        vectors, rows_of_relations, side = group
        _assert_same(interaction.score_all(vectors, rows_of_relations, entity, side), scores, entity, relation)
    apart = [interaction.score_candidates([group], entity, index[: len(group[0])]) for group in groups]
    together = interaction.score_candidates(groups, entity, torch.cat([index, index[:1]]))
    _assert_same(torch.cat(apart), together, entity, relation)


def _assert_same(expected: Tensor, actual: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-7, rtol=1e-7)
    wanted = torch.autograd.grad(expected.sin().sum(), inputs, retain_graph=True)
    for ours, theirs in zip(torch.autograd.grad(actual.sin().sum(), inputs, retain_graph=True), wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-6)


@every_interaction
def test_blocks_do_not_change_scores(choice: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    interaction = make(choice)
    entity, relation = tables(interaction, seed=3)
    known, asked, index = torch.arange(6), torch.arange(6) % 3, torch.arange(12).view(6, 2) % 9
    whole = [
        interaction.score_all(entity[known], relation[asked], entity, "tail"),
        interaction.score_candidates([(entity[known], relation[asked], "tail")], entity, index),
    ]
    monkeypatch.setattr("mmkgc.components.kge.tensors.BLOCK_FLOATS", {"cpu": 20})
    blocked = [
        interaction.score_all(entity[known], relation[asked], entity, "tail"),
        interaction.score_candidates([(entity[known], relation[asked], "tail")], entity, index),
    ]
    for expected, actual in zip(whole, blocked, strict=True):
        _assert_same(expected, actual, entity, relation)


@every_interaction
def test_the_gradient_is_finite_where_head_and_tail_are_the_same(choice: dict[str, Any]) -> None:
    interaction = make(choice)
    entity, relation = tables(interaction, seed=5)
    score = interaction.score(entity, 0 * relation[:1], entity)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(score.sum(), (entity, relation)))


@every_interaction
@pytest.mark.parametrize(("entities", "queries"), [(400, 24), (1400, 3)], ids=["many queries", "few queries"])
def test_other_kernels_take_over_without_a_change(choice: dict[str, Any], entities: int, queries: int) -> None:
    """From 131,072 coordinates on, compiled loops compare float32 vectors: same scores, and the same gradients."""
    width = 40
    interaction = make(choice, width).float()
    exact = make(choice, width)
    exact.load_state_dict(interaction.double().state_dict())
    interaction.float()
    entity, relation = tables(exact, seed=7, entities=entities)
    for side in sides_of(exact):
        found = []
        for used, dtype in ((exact, torch.float64), (interaction, torch.float32)):
            e, r = (table.detach().to(dtype).mul(0.3).requires_grad_() for table in (entity, relation))
            known, asked = e[torch.arange(queries)], r[torch.arange(queries) % len(r)]
            index = torch.arange(queries * 200).view(queries, 200) * 7 % entities
            scores = used.score_all(known, asked, e, side)
            candidates = used.score_candidates([(known, asked, side)], e, index)
            weights = torch.linspace(-1, 1, entities, dtype=dtype)
            loss = (scores * weights).sum() / entities + candidates.mean()
            found.append([scores, candidates, *torch.autograd.grad(loss, (e, r))])
        for expected, actual in zip(*found, strict=True):
            tolerance = 1e-4 * max(1.0, expected.abs().max().item())
            torch.testing.assert_close(actual.double(), expected, atol=tolerance, rtol=1e-3)


@every_interaction
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_sums_of_squares_in_closed_form_are_the_sums(choice: dict[str, Any], seed: int) -> None:
    interaction = make(choice, 4)
    entity, relation = tables(interaction, seed, entities=7)
    if not interaction.knows_sum_of_squares():
        with pytest.raises(NotImplementedError):
            interaction.sum_of_squares(entity, entity, relation)
        return
    other = entity.flip(0) * 1.5
    every = interaction.score(entity[:, None, None], relation[None, :, None], other[None, None])
    actual = interaction.sum_of_squares(entity, other, relation)
    torch.testing.assert_close(actual, every.square().sum(), atol=1e-9, rtol=1e-9)


def test_transh_asks_for_translations_in_the_hyperplane() -> None:
    interaction = INTERACTIONS.create({"name": "transh", "orthogonality": 2.0}, 3)
    along, across = torch.tensor([[1.0, 0, 0, 1, 0, 0]]), torch.tensor([[0.0, 1, 0, 1, 0, 0]])
    assert interaction.auxiliary([along])["orthogonality"].item() == pytest.approx(2.0)
    assert interaction.auxiliary([across])["orthogonality"].item() == 0


def test_ote_turns_by_orthogonal_matrices_and_sums_both_directions() -> None:
    interaction: Any = make({"name": "ote", "group": 4}, 8)
    entity, relation = tables(interaction, seed=1)
    rotations = interaction.rotations(relation)
    assert rotations.shape == (3, 2, 4, 4)
    torch.testing.assert_close(rotations.mT @ rotations, torch.eye(4, dtype=torch.float64).expand(3, 2, 4, 4))
    forth = interaction.forth(entity[:3], relation)
    torch.testing.assert_close(interaction.back(forth, relation), entity[:3])  # the one is the inverse of the other
    assert interaction.score(entity[:3], relation, forth).abs().max() < 1e-12

    def distance(left: Tensor, right: Tensor) -> Tensor:
        return (left - right).view(3, 2, 4).norm(dim=-1).sum(-1)

    there, here = distance(forth, entity[3:6]), distance(interaction.back(entity[3:6], relation), entity[:3])
    torch.testing.assert_close(interaction.score(entity[:3], relation, entity[3:6]), -(there + here) / 2)
    assert (there - here).abs().min() > 1e-3


@pytest.mark.parametrize("side", ["head", "tail"])
def test_the_gradient_of_a_rotation_is_its_derivative(side: Side) -> None:
    interaction = INTERACTIONS.create({"name": "rotate"}, 2)
    known = torch.randn(3, 1, 4, dtype=torch.float64, requires_grad=True)
    relation = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)  # broadcast to [3, 2, …]
    assert torch.autograd.gradcheck(lambda *vectors: interaction.query(*vectors, side), (known, relation))


def test_complex_drops_coordinates_of_each_query_in_training_alone() -> None:
    entities, relations, share = 2_000, 3, 0.3
    whole, dropping = make({"name": "complex"}), make({"name": "complex", "dropout": share})
    entity, relation = tables(whole, 0, entities, relations)
    known, asked = entity, relation[torch.arange(entities) % relations]
    for side in sides_of(whole):
        query = whole.query(known, asked, side)
        assert torch.equal(dropping.eval().query(known, asked, side), query)
        dropped = dropping.train().query(known, asked, side)
        kept = dropped != 0
        assert torch.allclose(dropped[kept], query[kept] / (1 - share))
        assert kept.double().mean().item() == pytest.approx(1 - share, abs=0.02)
        assert len(kept.unique(dim=0)) > 2  # not the same coordinates of all queries


def test_unit_vectors_of_a_table_are_computed_once_and_again_when_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    interaction = TransE(4, normalize=True)
    table, known, relation = torch.randn(5, 4), torch.randn(2, 4), torch.randn(2, 4)
    lengths: list[int] = []
    entity = interaction.entity
    monkeypatch.setattr(interaction, "entity", lambda vectors: lengths.append(len(vectors)) or entity(vectors))

    def scores() -> torch.Tensor:
        with torch.no_grad():
            return interaction.score_all(known, relation, table, "tail")

    first = scores()
    assert torch.equal(scores(), first)
    assert lengths.count(len(table)) == 1
    table[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    expected = TransE(4, normalize=True).score_all(known, relation, table, "tail")
    assert torch.equal(scores(), expected)
    assert not torch.equal(expected, first)
    interaction.score_all(known, relation, table.requires_grad_(), "tail").sum().backward()  # as in training
    assert table.grad is not None
