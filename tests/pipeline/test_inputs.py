"""Files of this machine that a recipe names go to the store before a cluster reads them."""

from pathlib import Path

import pytest

from mmkgc.components.encoders.weights import file_weights
from mmkgc.components.ingest import source
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.inputs import local_input
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import config
from mmkgc.pipeline.inputs import local_inputs, publish
from mmkgc.pipeline.runners import submission


@pytest.fixture
def storage(s3_endpoint, tmp_path, monkeypatch):
    """A store that pods can read."""
    for name, value in {"ENDPOINT_URL": s3_endpoint, "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    return open_storage(f"s3://bucket/{tmp_path.name}")


@pytest.fixture
def recipe(write_dataset, tmp_path):
    """A recipe that names every kind of local input."""
    write_dataset(tmp_path / "places")
    (tmp_path / "accepted").mkdir()
    (tmp_path / "accepted" / "triples.tsv").write_text("t0\tborders\tt1\n")
    (tmp_path / "vgg16.pth").write_bytes(b"weights")
    (tmp_path / "texts.npy").write_bytes(b"vectors")
    return config.load(
        str(tmp_path / "places"),
        [
            f"ingest.increments=[{tmp_path}/accepted]",
            f"extract.visual.weights={tmp_path}/vgg16.pth",
            f"extract.textual={{encoder: imported, source: {tmp_path}/texts.npy}}",
        ],
    )


def test_every_local_input_is_published_once_and_the_recipe_names_none_any_more(recipe, storage, tmp_path):
    keys = ["dataset", "extract.textual.source", "extract.visual.weights", "ingest.increments.0"]
    assert sorted(found.key for found in local_inputs(recipe)) == keys
    published = publish(recipe, storage)
    assert local_inputs(published) == []
    assert str(tmp_path) not in published.model_dump_json().replace(storage.root, "")
    before = [file.modified for file in storage.files("")]
    assert publish(recipe, storage) == published
    assert [file.modified for file in storage.files("")] == before
    with source.opened(published.dataset, storage) as folder:
        assert (folder / "train.tsv").read_text() == (tmp_path / "places" / "train.tsv").read_text()
    assert Path(local_input(published.extract.textual.source, storage)).read_bytes() == b"vectors"


def test_published_weights_keep_their_name_which_is_part_of_a_models_identity(recipe, storage, tmp_path):
    there = local_input(publish(recipe, storage).extract.visual.weights, storage)
    assert file_weights(there).label == "vgg16.pth"
    assert file_weights(there).sha256 == file_weights(f"{tmp_path}/vgg16.pth").sha256


def test_a_bundled_dataset_and_hub_names_need_no_store(tmp_path):
    recipe = config.load("countries")
    assert publish(recipe, open_storage(str(tmp_path))) == recipe


def test_a_store_on_this_machine_is_refused(recipe, tmp_path):
    with pytest.raises(UserError, match=r"dataset .*places: pods cannot read this machine's files"):
        publish(recipe, open_storage(str(tmp_path / "store")))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("dataset=nowhere", "no such folder"),
        ("ingest.increments=[nowhere]", "increment nowhere: there is no triples.tsv"),
        ("extract.visual.weights=absent.pth", "extract.visual.weights: there is no 'absent.pth' on this machine"),
        (
            "extract.textual={encoder: imported, source: absent.npy}",
            "extract.textual.source: there is no 'absent.npy' on this machine",
        ),
    ],
)
def test_an_input_that_is_missing_is_told_before_anything_is_submitted(setting, message):
    with pytest.raises(UserError, match=message):
        local_inputs(config.load("countries", [setting]))


def test_the_pipeline_of_a_folder_names_no_path_of_this_machine(tmp_path):
    recipe = submission.Recipe.model_validate(
        {"name": "places", "dataset": "s3://bucket/datasets/ab", "extract": {"visual": None, "textual": None}}
        | {"train": {"model": {"fusion": "structure"}}}
    )
    document = submission.compiled(recipe, "registry.test/mmkgc:1")
    executors = document["pipeline_spec"]["deploymentSpec"]["executors"].values()
    assert {each["container"]["image"] for each in executors} == {"registry.test/mmkgc:1"}
    submission.refuse_local_paths(document, [])
    local = submission.compiled(recipe.model_copy(update={"dataset": str(tmp_path)}))
    with pytest.raises(UserError, match="names a path of this machine"):
        submission.refuse_local_paths(local, [submission.inputs.LocalInput("dataset", tmp_path)])
