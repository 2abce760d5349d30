"""The papers' recipes and our presets: a dataset and a system each."""

from itertools import product

import pytest
import torch
import yaml
from click.testing import CliRunner

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import make_features
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.local import LocalStorage
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.reader import load_features
from mmkgc.pipeline import composition, config
from mmkgc.pipeline.cli.compile import compile as compile_verb
from mmkgc.pipeline.cli.list import list_
from mmkgc.pipeline.runners import local

DATASETS = {"db15k": "DB15K", "mkg-w": "MKG-W", "mkg-y": "MKG-Y"}
SYSTEMS = composition.stems(composition.SYSTEMS)
PRESETS = composition.stems(composition.PRESETS)
BY_SAMPLER = ["cake", "eans", "igan", "kbgan", "mmrns", "ns-kge", "nscaching", "sans"]
NAMES = [f"{dataset}-{system}" for dataset, system in product(DATASETS, [*SYSTEMS, *PRESETS])]


@pytest.fixture(scope="module")
def graph():
    """30 entities, 3 relations, 90 random triples."""
    generator = torch.Generator().manual_seed(0)
    triples = torch.unique(torch.randint(30, (120, 3), generator=generator) % torch.tensor([30, 3, 30]), dim=0)
    splits = triples[torch.randperm(len(triples), generator=generator)].split([10, 10, len(triples) - 20])
    entities, relations = (Vocabulary(keys, keys) for keys in (_keys("e", 30), _keys("r", 3)))
    return Graph(entities, relations, test=splits[0], valid=splits[1], train=splits[2])


def _keys(letter, count):
    return tuple(f"{letter}{index}" for index in range(count))


def test_all_of_them_are_there_and_listed_by_system():
    assert set(NAMES) <= set(config.names())
    listed = CliRunner().invoke(list_, ["recipes"], catch_exceptions=False).output
    assert all(f"{{countries,db15k,fb15k,mkg-w,mkg-y}}-{system}" in listed for system in [*SYSTEMS, *PRESETS])


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_makes_a_training_step_on_a_tiny_graph(name, graph):
    recipe = config.load(name)
    assert (recipe.name, recipe.dataset) == (name, DATASETS[name[:5]])
    settings = recipe.train.override({"epochs": 1, "device": "cpu"})
    features = {m: Features(torch.randn(30, 5), torch.arange(30) < 25) for m in ("visual", "textual")}
    trainer = Trainer(graph, features, settings)
    before = {name: weight.detach().clone() for name, weight in trainer.model.relations.items()}
    after = trainer.fit().relations
    assert all(weight.isfinite().all() for weight in after.values())
    assert not any(weight.equal(before[name]) for name, weight in after.items() if weight.requires_grad)
    assert trainer.selection.best_epoch == (0 if "mans-t" in name else 1)  # its first stage is not selected


def test_values_that_the_papers_set_by_dataset():
    margins = {name: config.load(name).train.loss["margin"] for name in ("db15k-mans-t", "mkg-w-mans-t")}
    assert margins == {"db15k-mans-t": 12, "mkg-w-mans-t": 6}
    rotate = {dataset: config.load(f"{dataset}-dhns-rotate").train for dataset in DATASETS}
    assert {dataset: (train.model.dimension, train.loss["margin"]) for dataset, train in rotate.items()} == {
        "db15k": (250, 12),
        "mkg-w": (200, 12),
        "mkg-y": (200, 4),
    }


RELEASED = ("adamf", "mat", "dhns-rotate", "dhns-transe", "ote", "sans", "eans", "cake", "mmrns")


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith(RELEASED)])
def test_initial_values_follow_the_margin_as_released(name):
    train = config.load(name).train
    wanted = (train.loss["margin"] + 2) / train.model.dimension
    init = train.model.interaction.get("relation_init") or train.model.interaction["init"]
    assert init == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("system", BY_SAMPLER)
def test_a_samplers_recipe_uses_the_sampler(system):
    train = config.load(f"db15k-{system}").train
    if system == "ns-kge":
        assert (train.loss["name"], train.negatives) == ("non-sampling", None)
    else:
        assert train.negatives["name"] == system
    assert system != "mmrns" or (train.model.dimension, train.loss["margin"]) == (200, 6)


def test_a_paper_recipe_compiles(tmp_path):
    target = tmp_path / "out.yaml"
    result = CliRunner().invoke(compile_verb, ["mkg-y-mans-a", "-o", str(target)], catch_exceptions=False)
    assert result.exit_code == 0
    assert "comp-train" in target.read_text()


def test_a_dataset_that_is_nowhere_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    (tmp_path / "data" / "MKG-W").mkdir(parents=True)
    with pytest.raises(UserError, match=r"dataset MKG-Y: no such folder .*data.* did you mean 'MKG-W'.*dataset=PATH"):
        local.run(config.load("mkg-y-adamf"))
    assert not (tmp_path / "home").exists()


def test_released_vectors_take_an_encoders_place_and_are_read_anew_in_every_run(tmp_path, graph):
    vectors = tmp_path / "visual.pth"
    torch.save(torch.randn(30, 6), vectors)
    setting = f"extract.visual={{encoder: imported, source: {vectors}, made_by: BEiT}}"
    recipe = config.load("mkg-y-adamf", [setting])
    storage = LocalStorage(str(tmp_path / "store"))
    uri = make_features(MMKG(graph, {}), "visual", recipe.extract, storage).uri
    assert load_features(uri, graph.entities.keys, storage).dimension == 6
    assert Manifest.read(uri, storage).encoder["weights"] == "BEiT"
    target = tmp_path / "out.yaml"
    CliRunner().invoke(compile_verb, ["mkg-y-adamf", "--set", setting, "-o", str(target)], catch_exceptions=False)
    tasks = next(yaml.safe_load_all(target.read_text()))["root"]["dag"]["tasks"]
    assert tasks["extract-textual"]["cachingOptions"].get("enableCache")
    assert not tasks["extract-visual"]["cachingOptions"].get("enableCache")
