"""Names and seeds that the systems below would refuse later."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mmkgc.components.runtime.names import LONGEST, NAME, SEEDS, Alias, Name, Seed, name_of


@pytest.mark.parametrize("name", ["a", "kg.2024.05", "FB15k-237_x", "x" * LONGEST])
def test_names_that_every_system_takes(name):
    from mlflow.utils.validation import _validate_experiment_name, _validate_model_name

    assert TypeAdapter(Name).validate_python(name) == name
    _validate_experiment_name(name)
    _validate_model_name(name)


@pytest.mark.parametrize(
    "name", ["", "team/graph", "a:b", "o'hara", "a b", "-x", ".x", "知识", "a\n", "x" * (LONGEST + 1)]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValidationError, match="a name"):
        TypeAdapter(Name).validate_python(name)


@pytest.mark.parametrize("alias", ["latest", "v3", "Champion", "1st", "a-b", "a\n", ""])
def test_aliases_that_mlflow_refuses(alias):
    with pytest.raises(ValidationError, match="alias"):
        TypeAdapter(Alias).validate_python(alias)


@pytest.mark.parametrize("seed", [-1, SEEDS, 1.5])
def test_seeds_that_no_generator_takes(seed):
    with pytest.raises(ValidationError):
        TypeAdapter(Seed).validate_python(seed)


def test_the_largest_seed_is_taken_by_the_generators():
    import torch

    seed = TypeAdapter(Seed).validate_python(SEEDS - 1)
    np.random.default_rng(seed)
    np.random.RandomState(seed)
    torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My Graph", "my-graph"),
        ("FB15k-237 (1)", "fb15k-237-1"),
        ("kg.2024.05", "kg.2024.05"),
        ("Köln", "koln"),
        ("db_15k", "db_15k"),
    ],
)
def test_a_name_is_made_of_any_text(text, name):
    assert name_of(text) == name


@given(st.text(max_size=300))
@settings(max_examples=200, deadline=None)
def test_what_is_made_is_a_name(text):
    name = name_of(text)
    assert NAME.fullmatch(name)
    assert len(name) <= LONGEST


def test_texts_that_differ_in_lost_letters_make_different_names():
    assert len({name_of(text) for text in ("知识", "图谱", "graph 知", "graph 谱", "a" * 200, "a" * 201)}) == 6
