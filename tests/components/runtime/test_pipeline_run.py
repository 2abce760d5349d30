"""One MLflow run a pipeline on a cluster, with and without Kubeflow's MLflow plugin."""

import json
import signal
import subprocess
import sys

import pytest

from mmkgc.components.runtime import pipeline_run, tracking
from mmkgc.components.runtime.tracking import parent_run, step_run

pytestmark = pytest.mark.slow

ABOUT = {"experiment": "places", "name": "transe, sum", "tags": {"mmkgc.dataset": "places"}}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One database for all tests: making one takes seconds."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def pod(home, monkeypatch):
    """What a pod's environment says; the experiment is empty."""
    monkeypatch.setenv("MMKGC_HOME", str(home))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "kfp-1")
    monkeypatch.setenv("MMKGC_RUN", json.dumps(ABOUT))
    monkeypatch.setenv("MMKGC_GIT_SHA", "c0ffee")
    monkeypatch.setattr(pipeline_run, "SETTLE_SECONDS", 0)
    yield
    for run in runs():
        tracking.client().delete_run(run.info.run_id)


def runs(experiment="places"):
    api = tracking.client()
    return api.search_runs([api.get_experiment_by_name(experiment).experiment_id])


def top(found):
    return [run for run in found if tracking.PARENT_TAG not in run.data.tags]


def test_the_first_step_makes_the_pipelines_run_and_later_ones_nest_in_it(monkeypatch):
    with step_run("ingest"):
        (made,) = top(runs())
        assert made.info.status == "RUNNING"
    monkeypatch.setenv("MMKGC_RUN", json.dumps(ABOUT | {"params": {"train": {"epochs": 5}}}))
    with step_run("evaluate"):
        parent_run().log_metrics({"test/mrr": 0.5})
    (parent,) = top(runs())
    assert (parent.info.run_name, parent.info.status) == ("transe, sum", "FINISHED")
    assert parent.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert parent.data.params == {"train.epochs": "5"}
    assert parent.data.metrics == {"test/mrr": 0.5}
    above = {run.info.run_name: run.data.tags.get(tracking.PARENT_TAG) for run in runs()}
    assert above == {"transe, sum": None, "ingest": parent.info.run_id, "evaluate": parent.info.run_id}


def test_of_steps_that_begin_together_the_older_run_stays(monkeypatch):
    api = tracking.client()
    number = tracking.experiment_id("places")
    older = api.create_run(number, start_time=1, tags={tracking.PIPELINE_TAG: "kfp-1"})
    first, found = [True], pipeline_run.find

    def find_nothing_at_first(*arguments):
        return None if first and first.pop() else found(*arguments)

    monkeypatch.setattr(pipeline_run, "find", find_nothing_at_first)
    assert parent_run().id == older.info.run_id
    assert [run.info.run_id for run in runs()] == [older.info.run_id]


def test_a_failed_step_fails_the_pipelines_run_until_it_is_tried_again():
    with pytest.raises(ValueError, match="boom"), step_run("train"):
        raise ValueError("boom")
    assert top(runs())[0].info.status == "FAILED"
    with step_run("train"):
        pass
    assert top(runs())[0].info.status == "FINISHED"


def test_with_the_plugin_the_tasks_run_is_the_steps_and_its_parent_the_pipelines(monkeypatch):
    api = tracking.client()
    number = tracking.experiment_id("places")
    above = api.create_run(number, tags={pipeline_run.PLUGIN_TAG: "kfp-1"})
    task = api.create_run(number, run_name="train", tags={tracking.PARENT_TAG: above.info.run_id})
    monkeypatch.setenv("MLFLOW_RUN_ID", task.info.run_id)
    with step_run("train", {"epochs": 5}) as step:
        assert step.id == task.info.run_id
        assert parent_run().id == above.info.run_id
    assert len(runs()) == 2
    assert api.get_run(task.info.run_id).data.params == {"epochs": "5"}
    assert api.get_run(above.info.run_id).info.status == "RUNNING", "the plugin ends it"
    monkeypatch.delenv("MLFLOW_RUN_ID")
    assert pipeline_run.find(api, "kfp-1").info.run_id == above.info.run_id


def test_sigterm_to_a_pod_closes_its_run_and_the_pipelines():
    work = "from mmkgc.components.runtime.tracking import step_run\nimport time\n"
    work += "with step_run('train'):\n    print('begun', flush=True)\n    time.sleep(60)\n"
    pod = subprocess.Popen([sys.executable, "-c", work], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert pod.stdout.readline() == "begun\n"
    assert {run.info.status for run in runs()} == {"RUNNING"}
    pod.terminate()
    said = pod.communicate(timeout=30)[1]
    assert pod.returncode == 128 + signal.SIGTERM, said
    assert [run.info.status for run in runs()] == ["KILLED", "KILLED"]
    with step_run("train"):  # the next attempt
        assert [run.info.status for run in top(runs())] == ["RUNNING"]
    assert [run.info.status for run in top(runs())] == ["FINISHED"]
