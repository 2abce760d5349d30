import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import config


def load(tmp_path, text, *settings):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return config.load(str(path), settings)


BASE = "name: mine\ndataset: countries\n"


def test_every_bundled_recipe_is_valid_and_named_like_its_file():
    assert "countries" in config.names()
    for name in config.names():
        assert config.load(name).name == name


def test_a_folder_gets_the_default_recipe(tmp_path):
    folder = tmp_path / "MyGraph"
    folder.mkdir()
    recipe = config.load(str(folder))
    assert (recipe.name, recipe.dataset) == ("mygraph", str(folder))
    assert recipe.train == config.load("default").train


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_working_folder(name):
    with pytest.raises(UserError, match="the name is empty"):
        config.load(name)


def test_settings_change_single_values_and_are_yaml(tmp_path):
    recipe = load(
        tmp_path, BASE, "train.epochs=5", "train.optimizer.lr=1e-2", "train.patience=null", "extract.visual=null"
    )
    assert recipe.train.epochs == 5
    assert recipe.train.optimizer.lr == 0.01
    assert recipe.train.patience is None
    assert recipe.extract.visual is None


def test_a_setting_may_go_inside_a_part_that_is_named_only(tmp_path):
    text = BASE + "train:\n  negatives: uniform\n"
    assert load(tmp_path, text, "train.negatives.count=7").train.negatives["count"] == 7


REFUSED = {
    "unknown key": ("train:\n  epocs: 5\n", (), "mine.yaml, line 4, train.epocs: unknown key — did you mean 'epochs'?"),
    "unknown part": ("trian:\n  epochs: 5\n", (), "mine.yaml, line 3, trian: unknown key — did you mean 'train'?"),
    "bad value": ("train:\n  epochs: many\n", (), "mine.yaml, line 4, train.epochs: input should be a valid integer"),
    "out of range": ("train:\n  epochs: 0\n", (), "mine.yaml, line 4, train.epochs: input should be greater than 0"),
    "unknown sampler": ("train:\n  negatives: unifrom\n", (), "did you mean 'uniform'?"),
    "unknown hyper-parameter": (
        "train:\n  negatives: {name: uniform, cuont: 3}\n",
        (),
        "uniform has no hyper-parameter 'cuont' — did you mean 'count'?",
    ),
    "pairing": (
        "train:\n  loss: cross-entropy\n  negatives: uniform\n",
        (),
        "loss 'cross-entropy' compares with every entity",
    ),
    "setting's key": ("", ("train.epocs=5",), "--set train.epocs=5: unknown key — did you mean 'epochs'?"),
    "setting without value": ("", ("train.epochs",), "--set train.epochs: no value given"),
    "broken YAML": ("train: [\n", (), "not valid YAML"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_recipe_is_refused_in_one_sentence(tmp_path, case):
    text, settings, expected = REFUSED[case]
    with pytest.raises(UserError) as refusal:
        load(tmp_path, BASE + text, *settings)
    assert expected in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_unknown_recipe_suggests_the_nearest():
    with pytest.raises(UserError, match="did you mean 'countries'"):
        config.load("contries")


def test_a_list_is_no_recipe(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(UserError, match="a recipe is a mapping"):
        config.load(str(path))
