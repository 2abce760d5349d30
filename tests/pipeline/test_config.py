import pytest

from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline import config


def load(tmp_path, text, *settings):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return config.load(str(path), settings)


BASE = "name: mine\ndataset: countries\n"


@pytest.mark.slow
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


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 5000, "x" * 300 + ".yaml"])
def test_a_name_that_no_file_can_have_is_an_unknown_recipe(name):
    with pytest.raises(UserError, match="no recipe, recipe file or dataset folder of this name") as refusal:
        config.load(name)
    assert len(str(refusal.value)) < 2500


def test_the_home_folder_is_written_as_a_tilde_wherever_a_recipe_names_a_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    imported = "extract.textual={encoder: imported, source: ~/texts.npy}"
    recipe = config.load("countries", ["dataset=~/places", "ingest.increments=[~/more, 's3://x/~/y']", imported])
    assert recipe.dataset == f"{tmp_path}/places"
    assert recipe.ingest.increments == (f"{tmp_path}/more", "s3://x/~/y")
    assert recipe.extract.textual.source == f"{tmp_path}/texts.npy"


@pytest.mark.parametrize("setting", ['dataset="a\\0b"', 'ingest.increments=["a\\0b"]'])
def test_a_path_with_a_nul_character_is_refused(setting):
    with pytest.raises(UserError, match="has a NUL character"):
        config.load("countries", [setting])


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        (
            "twice.yaml",
            "dataset: a\ntrain: {seed: 1}\ntrain: {epochs: 5}\n",
            "line 3: not valid YAML — the key 'train'",
        ),
        ("two.yaml", "dataset: a\n---\ndataset: b\n", "expected a single document in the stream, but found another"),
        ("based.yaml", "base: absent.yaml\n", "based.yaml, base: there is no file 'absent.yaml' beside it"),
        ("empty.yaml", "train: {}\n", "empty.yaml, dataset: the key 'dataset' is missing — add it"),
        ("recipe.json", '{"dataset": "a"}', "the name of a recipe file ends in .yaml or .yml"),
    ],
)
def test_a_file_that_is_no_recipe_is_named_with_the_cause(tmp_path, name, text, sentence):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as refusal:
        config.load(str(tmp_path / name))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("evaluate=5", "a mapping of keys belongs here"),
        ("extract.textual.source=x", "the chosen class has no 'source'"),
        ("extract.textual={encoder: imported}", "the key 'extract.textual.source' is missing"),
        ("ingest.increments=x", "a list belongs here"),
        ("train.negatives=[uniform]", "name the sampler: one of bernoulli"),
        ("name=1", "text belongs here"),
    ],
)
def test_values_of_another_kind_are_refused_in_plain_words(setting, sentence):
    with pytest.raises(UserError) as refusal:
        config.load("countries", [setting])
    assert str(refusal.value).startswith(f"--set {setting}: {sentence}")


def test_a_recipes_suffix_may_be_in_capitals(tmp_path):
    (tmp_path / "mine.YAML").write_text("dataset: countries\n")
    assert config.load(str(tmp_path / "mine.YAML")).name == "mine"


def test_a_list_is_no_recipe(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- 1\n")
    with pytest.raises(UserError, match="a recipe is a mapping"):
        config.load(str(path))


@pytest.mark.parametrize(
    ("folder", "name"), [("My Graph", "my-graph"), ("FB15k-237 (1)", "fb15k-237-1"), ("kg.2024.05", "kg.2024.05")]
)
def test_a_folder_of_any_name_names_the_run_and_says_so(tmp_path, caplog, folder, name):
    (tmp_path / folder).mkdir()
    recipe = config.load(str(tmp_path / folder))
    assert recipe.name == name
    assert recipe.dataset == str(tmp_path / folder)
    assert (f"it is called '{name}'" in caplog.text) == (folder != name)


def test_a_folder_without_a_latin_letter_has_a_name_too_and_set_gives_another(tmp_path, caplog):
    (tmp_path / "知识图谱").mkdir()
    assert config.load(str(tmp_path / "知识图谱")).name.startswith("graph-")
    caplog.clear()
    assert config.load(str(tmp_path / "知识图谱"), ["name=wikis"]).name == "wikis"
    assert not caplog.text


def test_a_recipe_file_of_any_name_names_the_run_but_a_name_in_it_must_fit(tmp_path):
    path = tmp_path / "my recipe.yaml"
    path.write_text("dataset: countries\n")
    assert config.load(str(path)).name == "my-recipe"
    path.write_text("dataset: countries\nname: o'hara\n")
    with pytest.raises(UserError, match=r"my recipe.yaml, line 2, name: a name is made of"):
        config.load(str(path))


BLAMED = {
    "registr.promote=false": "--set registr.promote=false: unknown key — did you mean 'register'?",
    "TRAIN.EPOCHS=5": "--set TRAIN.EPOCHS=5: unknown key — did you mean 'train'?",
    "train.epoch=5": "--set train.epoch=5: unknown key — did you mean 'epochs'?",
    "extract.visual.encoder=vgg19": "--set extract.visual.encoder=vgg19: no encoder is called 'vgg19' — did you mean",
    "extract.visual.weighs=x": "--set extract.visual.weighs=x: unknown key — did you mean 'weights'?",
    "extract.visual.weights={a": "--set extract.visual.weights={a: not valid YAML",
    "search.trials=3": "--set search.trials=3: `trials` without a `space`",
    "train.seed=-1": "--set train.seed=-1: input should be greater than or equal to 0",
    "train.model.dimension=1000000000": "--set train.model.dimension=1000000000: input should be less than",
    "train.optimizer.lr=.inf": "--set train.optimizer.lr=.inf: input should be a finite number",
    "register.model=team/graph": "--set register.model=team/graph: a name is made of",
    "register.model=o'hara": "--set register.model=o'hara: a name is made of",
    "register.alias=latest": "--set register.alias=latest: 'latest' has a meaning of its own in MLflow",
    "package.name=a b": "--set package.name=a b: a name is made of",
    "dataset=hf://datasets/x": "--set dataset=hf://datasets/x: datasets are not read from hf://",
    "search.storage=postgresql://me:secret@db/x": "--set search.storage=postgresql://me:***@db/x: a recipe is no",
    "search.storage=optuna.db": "--set search.storage=optuna.db: no URL of a database",
    "dataset=''": "--set dataset='': name a dataset",
}


@pytest.mark.parametrize("setting", BLAMED)
def test_a_setting_is_blamed_for_what_it_sets(tmp_path, setting):
    with pytest.raises(UserError) as refusal:
        load(tmp_path, BASE + "extract:\n  visual: {encoder: vgg16}\n", "train.epochs=5", setting)
    assert str(refusal.value).startswith(BLAMED[setting])


def test_the_file_is_blamed_for_the_rest(tmp_path):
    with pytest.raises(UserError, match=r"mine.yaml, line 4, train.epochs"):
        load(tmp_path, BASE + "train:\n  epochs: 0\n", "train.seed=1")
    with pytest.raises(UserError, match=r"mine.yaml, line 3, search: `trials` without"):
        load(tmp_path, BASE + "search: {trials: 3}\n", "search.workers=2")


@pytest.mark.parametrize("value", ["1" * 5000, "[" * 5000, "{[1]: 2}", "!!python/object:os.system x", "a: b: c"])
def test_values_that_no_yaml_reader_takes_are_refused_briefly(tmp_path, value):
    with pytest.raises(UserError, match="not valid YAML") as refusal:
        load(tmp_path, BASE, f"train.epochs={value}")
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"base: 5\n", "base: 5 is no name of a recipe"),
        (b"base: [countries, {a: 1}]\n", "is no name of a recipe"),
        (b"base: system.yaml\ndataset: countries\n", r"system.yaml, for: no mapping"),
        (b"name: caf\xe9\n", "byte 10 is not UTF-8"),
        (b"dataset: [a]\n", "line 1, dataset: text belongs here"),
    ],
)
def test_recipes_of_another_shape_are_refused(tmp_path, content, told):
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    (tmp_path / "system.yaml").write_text("for: [1]\n")
    with pytest.raises(UserError, match=told):
        config.load(str(path))


def test_a_recipe_is_not_read_from_a_url():
    with pytest.raises(UserError, match=r"https://x.org/r.yaml: no recipe is read from a URL — download it first"):
        config.load("https://x.org/r.yaml")


def test_a_search_space_may_be_set_key_by_key(tmp_path):
    recipe = load(tmp_path, BASE, "search.space.model.dimension={values: [4, 8]}", "search.trials=2")
    assert list(recipe.search.space) == ["model.dimension"]
    nested = load(tmp_path, BASE + "search: {trials: 1, space: {optimizer: {lr: {low: 0.1, high: 1}}}}\n")
    assert list(nested.search.space) == ["optimizer.lr"]


@pytest.mark.parametrize("name", ["a", "FB15k-237.x_", "a" * 100, "kg.2024.05", "x--y"])
def test_a_pipeline_has_a_name_that_kubeflow_takes(name):
    import re

    from mmkgc.pipeline.dag import pipeline_name

    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,126}[a-z0-9])?", pipeline_name(name))


def test_a_run_is_named_after_what_differs_from_its_recipe():
    assert config.load("countries").title == config.load("countries").train.label
    assert config.load("countries", ["train.seed=1", "train.epochs=5"]).title == "seed=1, epochs=5"
    assert config.load("countries", ["train.negatives.name=mans-h"]).title == "negatives=mans-h"
    pairs = (0, 5), (1, 5), (0, 6)
    groups = [config.load("countries", [f"train.seed={s}", f"train.epochs={n}"]).seed_group for s, n in pairs]
    assert groups[0] == groups[1] != groups[2]
