"""Keys that have another name now are read, with one sentence that says so."""

import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import config
from mmkgc.pipeline.renamed import current_key

OLD = """name: mine
dataset: countries
train:
  objective: {name: margin, margin: 3}
search:
  space:
    objective.margin: {low: 1, high: 9, when: {objective.name: margin}}
"""


def load(tmp_path, text, *settings):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return config.load(str(path), settings)


def test_an_old_recipe_is_the_new_one_and_says_so(tmp_path, capsys):
    old = load(tmp_path, OLD)
    told = capsys.readouterr().err.splitlines()
    assert old == load(tmp_path, OLD.replace("objective", "loss"))
    assert capsys.readouterr().err == ""
    assert [line.partition("mine.yaml: ")[2] for line in told] == [
        "'train.objective' is called 'train.loss' now; the old name will be refused in a later version",
        "'train.objective.margin' is called 'train.loss.margin' now; the old name will be refused in a later version",
        "'train.objective.name' is called 'train.loss.name' now; the old name will be refused in a later version",
    ]


def test_an_old_key_may_stand_in_what_a_system_says_for_a_dataset(tmp_path):
    system = "train: {objective: margin}\nfor: {countries: {train: {objective: {margin: 4}}}}\n"
    (tmp_path / "system.yaml").write_text(system)
    recipe = load(tmp_path, "base: system.yaml\nname: mine\ndataset: countries\n")
    assert recipe.train.loss == {"name": "margin", "margin": 4}


def test_an_old_recipe_may_be_built_on(tmp_path):
    (tmp_path / "old.yaml").write_text(OLD)
    recipe = load(tmp_path, "base: old.yaml\nname: new\ntrain: {loss: {margin: 5}}\n")
    assert recipe.train.loss == {"name": "margin", "margin": 5}


def test_an_old_key_may_be_set(tmp_path, capsys):
    assert load(tmp_path, OLD, "train.objective.margin=7").train.loss["margin"] == 7
    assert "--set train.objective.margin=7: 'train.objective.margin' is called" in capsys.readouterr().err


def test_both_names_at_once_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"mine\.yaml, train\.objective: this is called 'loss' now"):
        load(tmp_path, OLD.replace("search:", "  loss: margin\nsearch:"))


def test_a_wrong_value_under_an_old_key_is_found_in_its_line(tmp_path):
    with pytest.raises(UserError, match=r"mine\.yaml, line 4, train\.loss: .*did you mean 'margin'"):
        load(tmp_path, OLD.replace("name: margin", "name: margni"))


def test_only_whole_keys_are_renamed():
    assert current_key("train.objectives") == "train.objectives"
    assert current_key("evaluate.objective") == "evaluate.objective"
