"""The command of the next run, which `mmkgc propose export` prints."""

import shlex

import pytest

from mmkgc.components.runtime import model_registry, tracking
from mmkgc.components.runtime.pipeline_run import COMMAND_TAG
from mmkgc.pipeline import request
from mmkgc.pipeline.cli.propose import _next_run


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Registers a champion of a run that was begun by a command."""
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def made(command):
        api, where = tracking.client(), tracking.experiment_id("places")
        run = api.create_run(where, tags={COMMAND_TAG: command} if command else {}).info.run_id
        model_registry.ensure_model("places")
        version = api.create_model_version("places", f"runs:/{run}/model", run)
        api.set_registered_model_alias("places", "champion", version.version)

    return made


def test_the_command_of_the_model_goes_on_with_what_was_accepted(registered, tmp_path):
    folder = tmp_path / "my places"
    folder.mkdir()
    settings = ["train.epochs=4", 'ingest.increments=["before"]']
    registered(request.command(str(folder), settings))
    words = shlex.split(_next_run("places", "accepted"))
    assert words == ["mmkgc", "run", str(folder), "--set", "train.epochs=4", "--set", 'ingest.increments=["accepted"]']


def test_a_model_of_unknown_origin_gets_no_invented_command(registered):
    registered("")
    said = """the command that trained places, with --set 'ingest.increments=["accepted"]'"""
    assert _next_run("places", "accepted") == said
