"""What ``mmkgc gc`` frees, in a home with real MLflow runs, versions and artifacts."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.register.version import register_version
from mmkgc.components.runtime import model_registry, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import write_json
from mmkgc.components.runtime.in_use import in_use
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import housekeeping
from mmkgc.pipeline.cli.gc import gc
from tests.components.register.conftest import METRICS
from tests.serving.conftest import make_graph, random_bundle

ROOT = Path(housekeeping.__file__).parents[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MMKGC_STORAGE", "MMKGC_SCRATCH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def made(tmp_path: Path, number: int) -> tuple[str, str]:
    """Graph and bundle URI of a run that was tracked and registered; each run has a graph of its own."""
    storage = open_storage()
    folder = tmp_path / f"made-{number}"
    MMKG(make_graph(seed=number), {}, {"name": "toy"}).save(folder / "graph")
    graph = storage.publish(folder / "graph", "graphs")
    made_from = {"made_from": {"graph": graph.digest, "features": {}}}
    replace(random_bundle(number), provenance=made_from).save(folder / "bundle")
    bundle = storage.publish(folder / "bundle", "bundles")
    write_json(folder / "archive" / "archive.json", {"bundle": bundle.digest})
    storage.publish(folder / "archive", "archives")
    write_json(folder / "evaluation" / "metrics.json", {"number": number})
    evaluation = storage.publish(folder / "evaluation", "evaluations")
    with tracking.start_run("toy", f"run {number}") as parent:
        os.environ["MLFLOW_RUN_ID"] = parent.id
        with tracking.step_run("evaluate") as step:
            step.set_tags({"bundle_uri": bundle.uri, "graph_uri": graph.uri, "evaluation_uri": evaluation.uri})
            register_version(step, "toy", graph.uri, bundle.uri, METRICS, storage)
        del os.environ["MLFLOW_RUN_ID"]
    return graph.uri, bundle.uri


def test_every_kind_of_folder_that_a_step_publishes_is_known():
    sources = [path.read_text() for path in (ROOT / "components").rglob("*.py")]
    kinds = {kind for text in sources for kind in re.findall(r'\.publish\(.+, "(\w+)"\)', text)}
    assert {"graphs", "bundles", "archives"} <= kinds
    assert kinds <= set(housekeeping.FOLDERS), "add it to FOLDERS in pipeline/housekeeping.py, else it is never freed"


def test_what_an_alias_or_the_newest_run_needs_stays(home, tmp_path):
    pairs = [made(tmp_path, number) for number in range(3)]
    assert model_registry.move_alias("toy", "champion", "1", None, {})
    assert housekeeping.find(keep=1, grace_hours=1).table() == []  # everything is young
    listed = CliRunner().invoke(gc, ["--keep", "1", "--grace", "0"])
    assert listed.exit_code == 0, listed.output
    assert "toy version 2" in listed.output
    assert all(Path(uri).is_dir() for pair in pairs for uri in pair)  # a dry run
    with in_use(), pytest.raises(UserError, match="a run is at work here"):
        CliRunner().invoke(gc, ["--keep", "1", "--grace", "0", "--delete"], catch_exceptions=False)
    deleted = CliRunner().invoke(gc, ["--keep", "1", "--grace", "0", "--delete"], catch_exceptions=False)
    assert deleted.exit_code == 0
    assert "freed" in deleted.output
    assert [[Path(uri).is_dir() for uri in pair] for pair in pairs] == [[True, True], [False, False], [True, True]]
    for kind in ("archives", "evaluations"):
        assert len(list((home / "store" / kind).iterdir())) == {"archives": 2, "evaluations": 1}[kind]
    api = tracking.client()
    versions = {str(version.version) for version in api.search_model_versions("name = 'toy'")}
    assert versions == {"1", "3"}
    assert model_registry.bundle_of(model_registry.version("toy", 1)).is_dir()
    names = {run.info.run_name for run in api.search_runs([tracking.experiment_id("toy")])}
    assert names == {"run 2", "evaluate"}
    again = housekeeping.find(keep=1, grace_hours=0)
    assert [row for row in again.table() if row[0] != "temporary"] == []


def test_a_shared_store_is_left_alone(home, monkeypatch):
    monkeypatch.setenv("MMKGC_STORAGE", "s3://bucket/prefix")
    with pytest.raises(UserError, match="does not delete what other machines may use"):
        housekeeping.find(keep=1, grace_hours=0)
