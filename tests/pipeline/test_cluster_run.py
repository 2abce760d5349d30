"""Whole runs on the stand-in for Kubeflow: real steps, artifacts and data in S3, MLflow with its plugin or not."""

from collections import Counter

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import watch
from tests.services.kubeflow.api import KubeflowPipelines

pytestmark = pytest.mark.slow

RECIPE = """
base: default
name: {name}
dataset: {dataset}
extract: {{visual: null, textual: null}}
train: {{model: {{dimension: 8}}, epochs: 2, evaluate_every: 2}}
evaluate: {{bootstrap: 100}}
"""


@pytest.fixture
def submit(cluster, write_dataset, tmp_path, monkeypatch):
    """Submit a recipe of the small graph by its name; its steps' pods and the exit code."""
    dataset = write_dataset(tmp_path / "places")
    store = cluster.config_maps["mmkgc"]
    store["MLFLOW_TRACKING_URI"] = f"sqlite:///{tmp_path}/mlflow.db"
    for name, value in (store | cluster.secrets["mmkgc-s3"]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("MMKGC_IMAGE", f"registry.test/mmkgc@sha256:{'ab' * 32}")
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.5)
    tracking.client()  # makes the database

    def submit(name, plugin, *options):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(RECIPE.format(name=name, dataset=dataset))
        with KubeflowPipelines(cluster, mlflow=store["MLFLOW_TRACKING_URI"] if plugin else None) as standing:
            command = ["submit", str(recipe), "--host", standing.host, *options]
            result = CliRunner().invoke(mmkgc, command, catch_exceptions=False)
            (workflow,) = standing.workflows.values()
        logs = "\n".join(pod.log.read_text()[-2000:] for pod in workflow.pods)
        assert result.exit_code == 0, result.stderr + logs
        return result

    return submit


@pytest.mark.timeout(600)  # two pipelines
def test_a_recipe_runs_from_its_folder_to_a_model_of_its_own_with_and_without_the_plugin(submit, cluster):
    shards = ("--set", "extract.textual={encoder: sbert}", "--set", "extract.shards=2")
    for name, plugin, *options in (("places", False), ("others", True, *shards)):
        result = submit(name, plugin, *options)
        assert f"registered {name} version 1" in result.output
        api = tracking.client()
        runs = api.search_runs([api.get_experiment_by_name(name).experiment_id])
        (parent,) = [run for run in runs if tracking.PARENT_TAG not in run.data.tags]
        assert parent.data.params["train.epochs"] == "2"
        assert parent.data.metrics["test/mrr"] > 0
        steps = Counter(run.data.tags["mmkgc.step"] for run in runs if "mmkgc.step" in run.data.tags)
        assert {"ingest", "train", "evaluate", "register"} <= set(steps)
        assert steps["extract textual shard"] == (2 if options else 0)
        assert {run.data.tags.get(tracking.PARENT_TAG, parent.info.run_id) for run in runs} == {parent.info.run_id}
        assert {run.info.status for run in runs} == {"FINISHED"}
    assert {model.name for model in tracking.client().search_registered_models()} == {"places", "others"}
    root = cluster.s3.list_objects_v2(Bucket="mlpipeline", Prefix="v2/artifacts/places/")["Contents"]
    assert all(item["Size"] < 100_000 for item in root), "Kubeflow's own place holds pointers, metrics and the report"
