"""Every interaction against its formula, coordinate by coordinate."""

import cmath
import math
from collections.abc import Callable
from statistics import mean, pvariance
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.interactions.base import Interaction
from tests.components.kge.interactions import D, make, tables
from tests.components.kge.loops import layer_by_loops


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


def ote_by_loops(interaction: Interaction) -> Callable[..., float]:
    """Gram–Schmidt by hand of 1 + M / 0.07, whose columns become orthonormal; groups are all of a vector here."""

    def ote(h: list[float], r: list[float], t: list[float]) -> float:
        matrix = [[(i == j) + r[i * D + j] / 0.07 for j in range(D)] for i in range(D)]
        columns: list[list[float]] = []
        for column in zip(*matrix, strict=True):
            rest = list(column)
            for other in columns:
                rest = [x - dot(other, rest) * y for x, y in zip(rest, other, strict=True)]
            columns.append(unit(rest))
        scale = [math.exp(s) for s in r[D * D :]]
        forth = [dot(h, column) * s for column, s in zip(columns, scale, strict=True)]
        shrunk = [x / s for x, s in zip(t, scale, strict=True)]
        back = [sum(columns[j][i] * shrunk[j] for j in range(D)) for i in range(D)]
        return -(math.dist(forth, t) + math.dist(back, h)) / 2

    return ote


def conve_like_a_picture(interaction: Interaction) -> Callable[..., float]:
    """Σₓ relu(hidden(relu(conv)))ₓ tₓ + b_t, the normalisations with their initial statistics."""

    def conve(h: list[float], r: list[float], t: list[float]) -> float:
        shrunk = 1 / math.sqrt(1 + 1e-5)  # of each batch normalisation
        picture = [[value * shrunk for value in row] for row in (h[:D], r)]  # two rows of three: height is 1
        kernel, bias = interaction.convolution.weight.tolist(), interaction.convolution.bias.tolist()
        maps = []
        for (filter_,), offset in zip(kernel, bias, strict=True):
            for y in range(2):
                for x in range(D):
                    total = offset
                    for dy in range(3):
                        for dx in range(3):
                            if 0 <= y + dy - 1 < 2 and 0 <= x + dx - 1 < D:
                                total += filter_[dy][dx] * picture[y + dy - 1][x + dx - 1]
                    maps.append(max(0.0, total * shrunk))
        weight, offsets = interaction.hidden.weight.tolist(), interaction.hidden.bias.tolist()
        hidden = [max(0.0, (dot(row, maps) + b) * shrunk) for row, b in zip(weight, offsets, strict=True)]
        return dot(hidden, t[:D]) + t[D]

    return conve


def tucker_by_loops(interaction: Interaction) -> Callable[..., float]:
    """Σᵢⱼₖ W_kij rₖ hᵢ tⱼ."""

    def tucker(h: list[float], r: list[float], t: list[float]) -> float:
        core = interaction.core.tolist()
        return sum(core[k][i][j] * r[k] * h[i] * t[j] for k in range(D) for i in range(D) for j in range(D))

    return tucker


def vista_by_loops(interaction: Interaction) -> Callable[..., float]:
    """The output at the masked place · t."""

    def vista(h: list[float], r: list[float], t: list[float]) -> float:
        middle, spread = mean(r), math.sqrt(pvariance(r) + 1e-5)
        relation = [(x - middle) / spread for x in r]
        sequence = zip([h, relation, interaction.mask.tolist()], interaction.places.tolist(), strict=True)
        tokens = [[a + b for a, b in zip(token, place, strict=True)] for token, place in sequence]
        for layer in interaction.decoder.layers:
            tokens = layer_by_loops(layer, tokens, heads=3)
        return dot(tokens[2], t)

    return vista


def with_parameters(maker: Callable[[Interaction], Callable[..., float]]) -> Callable[..., float]:
    """A formula that needs the interaction's own parameters."""

    def formula(interaction: Interaction, *vectors: list[float]) -> float:
        return maker(interaction)(*vectors)

    formula.__name__ = maker.__name__
    formula.needs_interaction = True  # type: ignore[attr-defined]
    return formula


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
    ({"name": "conve"}, with_parameters(conve_like_a_picture)),
    ({"name": "vista"}, with_parameters(vista_by_loops)),
    ({"name": "ote"}, with_parameters(ote_by_loops)),
    ({"name": "tucker", "normalise": False}, with_parameters(tucker_by_loops)),
]


@pytest.mark.parametrize(("choice", "formula"), FORMULAS, ids=lambda value: getattr(value, "__name__", ""))
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_scores_are_the_papers_formula(choice: dict[str, Any], formula: Callable[..., float], seed: int) -> None:
    interaction = make(choice)
    entity, relation = tables(interaction, seed)
    score = interaction.score(entity[0], relation[0], entity[1]).item()
    own = [interaction] if hasattr(formula, "needs_interaction") else []
    vectors = [row.tolist() for row in (entity[0], relation[0], entity[1])]
    assert score == pytest.approx(formula(*own, *vectors), abs=1e-8)


def test_every_interaction_has_a_formula_here() -> None:
    assert {choice["name"] for choice, _ in FORMULAS} == set(INTERACTIONS.classes())
