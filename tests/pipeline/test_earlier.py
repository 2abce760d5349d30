"""What `mmkgc run` says of its time before it begins."""

import time

import pytest

from mmkgc.components.runtime import processes, tracking
from mmkgc.components.runtime.tracking import PARENT_TAG, PROCESS_TAG
from mmkgc.pipeline import config
from mmkgc.pipeline.earlier import run_like, sentence

SECOND = 1000


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return config.load("countries")


def ended(recipe, seconds, ago, steps=("train",), status="FINISHED", here=True):
    """A run with these settings in MLflow that began ``ago`` seconds before now."""
    api, where = tracking.client(), tracking.experiment_id(recipe.name)
    process = processes.identity() if here else "elsewhere " + processes.identity().partition(" ")[2]
    begin = round(time.time() - ago) * SECOND
    run = api.create_run(where, begin, {"mmkgc.seed_group": recipe.seed_group, PROCESS_TAG: process})
    for step in steps:
        child = api.create_run(where, begin, {"mmkgc.step": step, PARENT_TAG: run.info.run_id})
        api.set_terminated(child.info.run_id)
    api.set_terminated(run.info.run_id, status, begin + round(seconds * SECOND))


def test_the_newest_run_here_that_trained_with_the_same_settings_tells_the_time(recipe):
    assert run_like(recipe) is None
    ended(recipe, 300, ago=9000)
    ended(recipe, 200, ago=8000)
    ended(recipe, 20, ago=7000, steps=("evaluate",))  # the model came from the cache
    ended(recipe, 30, ago=6000, here=False)
    ended(recipe, 40, ago=5000, status="KILLED")
    ended(config.load("countries", ["train.epochs=3"]), 50, ago=4000)
    found = run_like(config.load("countries", ["train.seed=7"]))
    assert found is not None
    assert found.seconds == 200
    assert sentence(found).startswith(f"takes about 3 min, as the run of {found.begun} did on this machine")


def test_a_first_run_is_told_when_its_time_will_be_known(recipe):
    assert "is told after 5 s of training" in sentence(run_like(recipe))
