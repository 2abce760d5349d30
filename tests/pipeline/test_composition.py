"""Recipes that build on others."""

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import config
from mmkgc.pipeline.composition import merged


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_a_recipe_changes_what_it_builds_on_and_is_called_like_its_file(write):
    recipe = config.load(write("base: countries\ntrain: {epochs: 7}\n"))
    base = config.load("countries")
    assert recipe == base.model_copy(update={"name": "mine", "train": base.train.override({"epochs": 7})})


def test_a_system_of_the_papers_goes_onto_any_dataset(write):
    recipe = config.load(write("base: adamf-mat\ndataset: my/graph\n"))
    assert (recipe.name, recipe.dataset) == ("mine", "my/graph")
    assert recipe.train.negatives["name"] == "mat"


def test_what_a_system_says_for_a_dataset_stands_below_the_recipe_itself(write):
    path = write("base: adamf\ndataset: DB15K\ntrain: {loss: {margin: 5}}\n")
    assert config.load(path).train.model.dimension == config.load("db15k-adamf").train.model.dimension == 250
    assert config.load("db15k-adamf").train.loss["margin"] == 12
    assert config.load(path).train.loss["margin"] == 5


def test_a_folder_that_is_called_like_a_benchmark_has_its_settings(write):
    named, by_folder = config.load("mkg-y-adamf"), config.load_pair("path/to/MKG-Y", "adamf")
    assert by_folder == named.model_copy(update={"name": "adamf", "dataset": "path/to/MKG-Y"})
    assert config.load(write("base: adamf\ndataset: path/to/MKG-Y\n")).train.loss["margin"] == 4
    assert config.load_pair("path/to/films", "adamf").extract == config.load("default").extract


def test_of_several_bases_the_last_decides(write):
    write("train: {epochs: 3, batch_size: 10}\n", "first")
    write("train: {epochs: 4}\n", "second")
    recipe = config.load(write("base: [first.yaml, second.yaml]\ndataset: countries\n"))
    assert (recipe.train.epochs, recipe.train.batch_size) == (4, 10)


def test_a_part_of_another_class_replaces_the_whole_part():
    mans = {"negatives": {"name": "mans-h", "count": 1, "beta": 0.3}, "epochs": 5}
    assert merged(mans, {"negatives": {"name": "uniform"}}) == {"negatives": {"name": "uniform"}, "epochs": 5}
    assert merged(mans, {"negatives": {"beta": 0.5}})["negatives"] == {"name": "mans-h", "count": 1, "beta": 0.5}
    assert merged({"regularizer": "n3"}, {"regularizer": {"weight": 1}}) == {"regularizer": {"name": "n3", "weight": 1}}
    assert merged({"visual": {"encoder": "vgg16", "weights": "random"}}, {"visual": {"encoder": "beit"}}) == {
        "visual": {"encoder": "beit"}
    }


def test_another_entity_encoder_leaves_the_rest_of_the_model():
    below = {"model": {"dimension": 5, "encoder": {"name": "lafa", "dropout": 0.2}}}
    assert merged(below, {"model": {"encoder": "table"}})["model"] == {"dimension": 5, "encoder": "table"}
    assert merged({"model": {"dimension": 5}}, {"model": {"encoder": "lafa"}})["model"]["dimension"] == 5
    assert merged(below, {"model": {"encoder": {"dropout": 0}}})["model"]["encoder"] == {"name": "lafa", "dropout": 0}


REFUSED = {
    "a loop": ("base: mine.yaml\ndataset: countries\n", "builds on itself"),
    "an unknown base": ("base: contries\n", "mine.yaml, base: no recipe 'contries' — did you mean 'countries'?"),
    "a base that is not there": ("base: other.yaml\n", "mine.yaml, base: there is no file 'other.yaml' beside it"),
    "no dataset": ("base: adamf\n", "mine.yaml, dataset: the key 'dataset' is missing"),
    "a bad value of its own": ("base: countries\ntrain:\n  epochs: 0\n", "mine.yaml, line 3, train.epochs"),
    "for, outside a system": ("base: countries\nfor: {countries: {}}\n", "mine.yaml, line 2, for: unknown key"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_composition_is_refused_in_one_sentence(write, case):
    text, expected = REFUSED[case]
    with pytest.raises(UserError) as refusal:
        config.load(write(text))
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_mistake_is_told_where_it_stands(write):
    write("dataset: countries\ntrain:\n  epochs: many\n", "base")
    with pytest.raises(UserError, match=r"base\.yaml, line 3, train\.epochs"):
        config.load(write("base: base.yaml\n"))


def test_a_preset_is_combined_with_a_dataset_and_uses_numbers_where_there_are_some():
    numbers = {name: config.load(f"{name}-fast").extract.numeric for name in ("db15k", "mkg-w", "mkg-y")}
    assert numbers["db15k"].encoder == "literals"
    assert numbers["mkg-w"] is numbers["mkg-y"] is None
    fast, best = (config.load(f"mkg-y-{preset}").train for preset in ("fast", "best"))
    assert best.model.dimension > fast.model.dimension
    assert best.loss["name"] == fast.loss["name"]
