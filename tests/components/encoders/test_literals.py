"""The encoder of numbers, against a slow one that follows the formula word by word."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.encoders.literals import Literals, LiteralsConfig, Points
from mmkgc.components.encoders.registry import create, recreate
from mmkgc.components.runtime.errors import UserError

ATTRIBUTES = ("area", "founded", "height", "seldom", "never")
NUMBERS = st.integers(-40, 40).map(lambda number: number / 8) | st.sampled_from([-1e12, -1e-3, 1e6, 1e300])
ITEMS = st.lists(st.lists(st.tuples(st.sampled_from(ATTRIBUTES), NUMBERS), min_size=1, max_size=6), max_size=12)


def fitted(training, **config) -> Literals:
    return create(LiteralsConfig(**config)).fit(training)


def slow(training, item, bins, rare):
    """The vector of an entity, one value after the other."""
    values = {}
    for pairs in training:
        for attribute, value in pairs:
            values.setdefault(attribute, []).append(value)
    frequent = sorted(attribute for attribute in values if len(values[attribute]) >= rare)
    others = [value for attribute in sorted(values) if attribute not in frequent for value in values[attribute]]
    vector = []
    for attribute in [*frequent, None]:
        mine = [v for a, v in item if (a == attribute if attribute else a not in frequent)]
        blocks = [_block(value, values[attribute] if attribute else others, bins) for value in mine]
        vector += np.mean(blocks, axis=0).tolist() if blocks else [0.0] * (bins + 2)
    return vector


def _block(value, known, bins):
    p = _position(value, known, bins)
    return [1.0, p, *(max(0.0, 1 - abs((bins - 1) * p - k)) for k in range(bins))]


def _position(value, known, bins):
    if not known:
        return 0.5
    at = {}
    for j in range(bins + 1):
        at.setdefault(float(np.quantile(known, j / bins)), []).append(j / bins)
    points = [(q, sum(levels) / len(levels)) for q, levels in sorted(at.items())]
    if value <= points[0][0]:
        return points[0][1]
    for (q, low), (r, high) in pairwise(points):
        if value <= r:
            return low + (value - q) / (r - q) * (high - low)
    return points[-1][1]


@given(training=ITEMS.filter(len), others=ITEMS, bins=st.integers(2, 9), rare=st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_vectors_are_those_of_the_formula(training, others, bins, rare):
    encoder = fitted(training, bins=bins, rare=rare)
    items = [*training, *others]
    expected = np.array([slow(training, item, bins, rare) for item in items])
    assert expected.shape[1] == encoder.dimension
    np.testing.assert_allclose(encoder.encode(items), expected, atol=2e-5)


@given(training=ITEMS.filter(len), item=ITEMS.filter(len))
@settings(max_examples=50, deadline=None)
def test_a_stored_identity_reads_new_entities_alike(training, item):
    encoder = fitted(training, rare=2)
    again = recreate(encoder.spec.model_dump(mode="json"))
    assert again.spec == encoder.spec
    np.testing.assert_array_equal(again.encode(item), encoder.encode(item))


def test_a_vector_does_not_depend_on_its_batch():
    rng = np.random.default_rng(0)
    items = [[("area", value), ("height", value**2)] for value in rng.lognormal(size=50)]
    encoder = fitted(items)
    np.testing.assert_array_equal(encoder.encode(items), np.concatenate([encoder.encode([item]) for item in items]))


def test_a_small_case_by_hand():
    encoder = fitted([[("area", float(value))] for value in range(0, 41, 2)], bins=4)  # quantiles 0, 10, 20, 30, 40
    (vector,) = encoder.encode([[("area", 5.0)]])
    assert vector.tolist() == pytest.approx([1, 0.125, 0.625, 0.375, 0, 0, *[0] * 6])
    (mean,) = encoder.encode([[("area", 0.0), ("area", 40.0), ("area", 99.0)]])
    assert mean.tolist() == pytest.approx([1, 2 / 3, 1 / 3, 0, 0, 2 / 3, *[0] * 6])


def test_a_change_of_unit_changes_nothing():
    rng = np.random.default_rng(1)
    metres = [[("height", value)] for value in rng.uniform(1, 9000, 100)]
    feet = [[("height", value * 3.28)] for ((_, value),) in metres]
    np.testing.assert_allclose(fitted(metres).encode(metres), fitted(feet).encode(feet), atol=1e-5)


def test_rare_attributes_share_a_block_and_their_limit_counts_values():
    training = [[("area", 1.0)]] * 20 + [[("height", 1.0)]] * 19 + [[("age", 2.0)]]
    encoder = fitted(training)
    assert encoder.names == ["area"]
    assert encoder.config.fitted.rare == ("age", "height")
    both = encoder.encode([[("age", 1.5)], [("height", 1.5)]])
    np.testing.assert_array_equal(both[0], both[1])


def test_the_identity_changes_with_what_was_learnt():
    one, two = (fitted([[("area", value)]] * 20) for value in (1.0, 2.0))
    assert one.spec.sha256 != two.spec.sha256
    assert one.spec == fitted([[("area", 1.0)]] * 20).spec


def test_an_unknown_attribute_of_a_query_is_refused_with_the_nearest():
    encoder = fitted([[("population", 1.0)]] * 20 + [[("height", 2.0)]])
    assert encoder.refusal([("population", 5.0), ("height", 1.0)]) == ""
    assert encoder.refusal([("populaton", 5.0)]) == (
        "the model knows no attribute 'populaton', did you mean 'population'?"
    )


def test_without_a_number_there_is_nothing_to_learn():
    with pytest.raises(UserError, match=r"extract\.numeric: no entity of the training triples has a number"):
        fitted([])


def test_points_of_equal_quantiles_are_one():
    points = Points.of([3.0] * 10 + [4.0], bins=4)
    assert points.values[0] == 3.0
    assert points.levels[0] == pytest.approx(np.mean([0, 0.25, 0.5, 0.75]))
    assert Points.of([7.0], bins=4) == Points(values=(7.0,), levels=(0.5,))


def test_vectors_are_float32_and_need_no_network():
    encoder = fitted([[("area", 1e300)], [("area", -1e300)]], rare=1)
    assert encoder.encode([[("area", 0.0)]]).dtype == np.float32
    assert np.isfinite(encoder.encode([[("area", 5e299)]])).all()
    assert encoder.pooled([[("area", 0.0)]]).dtype == torch.float32
