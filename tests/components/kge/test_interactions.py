"""Every interaction against its formula, coordinate by coordinate, and all its ways to ask against each other."""

import cmath
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction, Query, Side

D = 3
CASES: list[dict[str, Any]] = [
    {"name": "transe", "p": 1},
    {"name": "transe", "p": 2, "normalize": True},
    *({"name": name} for name in INTERACTIONS.classes() if name != "transe"),
]
every_interaction = pytest.mark.parametrize("choice", CASES, ids=lambda choice: "-".join(map(str, choice.values())))


def make(choice: dict[str, Any]) -> Interaction:
    return INTERACTIONS.create(choice)


def tables(interaction: Interaction, seed: int, entities: int = 9, relations: int = 3) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    sizes = (entities, interaction.entity_width(D)), (relations, interaction.relation_width(D))
    entity, relation = (torch.randn(size, generator=random, dtype=torch.float64) for size in sizes)
    return entity.requires_grad_(), relation.requires_grad_()


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
    for side in ("head", "tail"):
        ours, r, theirs = entity[known].unsqueeze(1), relation[asked].unsqueeze(1), entity.unsqueeze(0)
        triples = interaction.score(ours, r, theirs) if side == "tail" else interaction.score(theirs, r, ours)
        everyone = interaction.score_all(entity[known], relation[asked], entity, side)
        candidates = interaction.score_candidates([(entity[known], relation[asked], side)], entity, index)
        _assert_same(triples, everyone, entity, relation)
        _assert_same(triples.gather(1, index), candidates, entity, relation)
    one, many, r = entity[known].unsqueeze(1), entity[index], relation[asked].unsqueeze(1)
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    for (i, j), crossed in zip(pairs, interaction.score_crossed([one, many], r, [one, many], pairs), strict=True):
        _assert_same(interaction.score([one, many][i], r, [one, many][j]), crossed, entity, relation)
    groups: list[Query] = [(entity[known], relation[asked], "head"), (entity[known[:1]], relation[asked[:1]], "tail")]
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


def norm(values: list[float], p: int) -> float:
    return sum(abs(value) ** p for value in values) ** (1 / p)


def unit(values: list[float]) -> list[float]:
    return [value / norm(values, 2) for value in values]


def dot(left: list[float], right: list[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def complexes(values: list[float]) -> list[complex]:
    half = len(values) // 2
    return [complex(a, b) for a, b in zip(values[:half], values[half:], strict=True)]


def transe_l1(h: list[float], r: list[float], t: list[float]) -> float:
    return -norm([a + b - c for a, b, c in zip(h, r, t, strict=True)], 1)


def transe_unit(h: list[float], r: list[float], t: list[float]) -> float:
    return -norm([a + b - c for a, b, c in zip(unit(h), unit(r), unit(t), strict=True)], 2)


def transh(h: list[float], r: list[float], t: list[float]) -> float:
    d, w = r[:D], unit(r[D:])
    return -norm([a - dot(w, h) * n + b - (c - dot(w, t) * n) for a, b, c, n in zip(h, d, t, w, strict=True)], 2)


def transd(h: list[float], r: list[float], t: list[float]) -> float:
    def projected(e: list[float]) -> list[float]:
        return unit([a + dot(e[D:], e[:D]) * p for a, p in zip(e[:D], r[D:], strict=True)])

    return -norm([a + b - c for a, b, c in zip(projected(h), r[:D], projected(t), strict=True)], 2)


def rescal(h: list[float], r: list[float], t: list[float]) -> float:
    return sum(h[i] * r[i * D + j] * t[j] for i in range(D) for j in range(D))


def distmult(h: list[float], r: list[float], t: list[float]) -> float:
    return sum(a * b * c for a, b, c in zip(h, r, t, strict=True))


def complex_(h: list[float], r: list[float], t: list[float]) -> float:
    product = (a * b * c.conjugate() for a, b, c in zip(complexes(h), complexes(r), complexes(t), strict=True))
    return sum(product).real


def rotate(h: list[float], r: list[float], t: list[float]) -> float:
    turns = [cmath.exp(1j * math.pi * phase / 0.07) for phase in r]
    return -sum(abs(a * b - c) for a, b, c in zip(complexes(h), turns, complexes(t), strict=True))


def quate(h: list[float], r: list[float], t: list[float]) -> float:
    score = 0.0
    for i in range(D):
        (a, b, c, d), (w, x, y, z), tail = ([v[k * D + i] for k in range(4)] for v in (h, r, t))
        w, x, y, z = unit([w, x, y, z])
        product = [
            a * w - b * x - c * y - d * z,
            a * x + b * w + c * z - d * y,
            a * y - b * z + c * w + d * x,
            a * z + b * y - c * x + d * w,
        ]
        score += dot(product, tail)
    return score


def pairre(h: list[float], r: list[float], t: list[float]) -> float:
    return -norm([a * x - c * y for a, x, c, y in zip(unit(h), r[:D], unit(t), r[D:], strict=True)], 1)


FORMULAS: list[tuple[dict[str, Any], Callable[..., float]]] = [
    ({"name": "transe", "p": 1}, transe_l1),
    ({"name": "transe", "p": 2, "normalize": True}, transe_unit),
    ({"name": "transh"}, transh),
    ({"name": "transd"}, transd),
    ({"name": "rescal"}, rescal),
    ({"name": "distmult"}, distmult),
    ({"name": "complex"}, complex_),
    ({"name": "rotate"}, rotate),
    ({"name": "quate"}, quate),
    ({"name": "pairre"}, pairre),
]


@pytest.mark.parametrize(("choice", "formula"), FORMULAS, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_are_the_papers_formula(choice: dict[str, Any], formula: Callable[..., float], seed: int) -> None:
    interaction = make(choice)
    entity, relation = tables(interaction, seed)
    score = interaction.score(entity[0], relation[0], entity[1]).item()
    assert score == pytest.approx(formula(*(row.tolist() for row in (entity[0], relation[0], entity[1]))), abs=1e-8)


def test_every_interaction_has_a_formula_here() -> None:
    assert {choice["name"] for choice, _ in FORMULAS} == set(INTERACTIONS.classes())


def test_transh_asks_for_translations_in_the_hyperplane() -> None:
    interaction = INTERACTIONS.create({"name": "transh", "orthogonality": 2.0})
    along, across = torch.tensor([[1.0, 0, 0, 1, 0, 0]]), torch.tensor([[0.0, 1, 0, 1, 0, 0]])
    assert interaction.auxiliary([along])["orthogonality"].item() == pytest.approx(2.0)
    assert interaction.auxiliary([across])["orthogonality"].item() == 0


@pytest.mark.parametrize("side", ["head", "tail"])
def test_the_gradient_of_a_rotation_is_its_derivative(side: Side) -> None:
    interaction = INTERACTIONS.create({"name": "rotate"})
    known = torch.randn(3, 1, 4, dtype=torch.float64, requires_grad=True)
    relation = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)  # broadcast to [3, 2, …]
    assert torch.autograd.gradcheck(lambda *vectors: interaction.query(*vectors, side), (known, relation))
