import shutil

import pytest

from mmkgc.components.runtime import moved, processes, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.tracking import flatten, parent_run, start_run, step_run

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_TRACKING_URI", "MMKGC_PIPELINE_RUN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_steps_nest_under_the_run_that_the_environment_names(monkeypatch, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with start_run("countries", "demo") as parent:
        monkeypatch.setenv("MLFLOW_RUN_ID", parent.id)
        with step_run("train", params={"model": {"dimension": 8}}) as step:
            step.log_metrics({"dev.mrr": 0.5}, step=3)
            step.log_artifact(note)
            step.log_dataset("countries", "ab" * 32, "/graph", {"train": 5}, "training")
        assert parent_run().id == parent.id
    stored = step.api.get_run(step.id)
    assert stored.info.status == "FINISHED"
    assert stored.data.tags[tracking.PARENT_TAG] == parent.id
    assert stored.data.params == {"model.dimension": "8"}
    assert stored.data.metrics["dev.mrr"] == 0.5
    assert 0.01 < stored.data.metrics["process/peak_memory_gib"] < 64
    assert stored.data.metrics["process/cpu_seconds"] > 0
    assert stored.inputs.dataset_inputs[0].dataset.name == "countries"
    assert [file.path for file in step.api.list_artifacts(step.id)] == ["note.txt"]


def test_on_a_cluster_the_parent_is_found_by_the_pipeline_run(monkeypatch):
    with start_run("countries", "demo", {tracking.PIPELINE_TAG: "kfp-17"}) as parent:
        pass
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "kfp-17")
    assert parent_run().id == parent.id
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "another")
    assert parent_run() is None


def test_the_next_attempt_ends_the_run_that_a_killed_pod_left_open(monkeypatch):
    with start_run("countries", "demo", {tracking.PIPELINE_TAG: "kfp-18"}) as parent:
        monkeypatch.setenv("MMKGC_PIPELINE_RUN", "kfp-18")
        api, number = tracking.client(), parent.api.get_run(parent.id).info.experiment_id
        elsewhere = {tracking.PARENT_TAG: parent.id, "mmkgc.process": "another-pod pid:[1] 1 1"}
        killed, trial, twin = (
            api.create_run(number, tags=elsewhere | tags).info.run_id
            for tags in ({"mmkgc.step": "search", "worker": "1"}, {}, {"mmkgc.step": "search", "worker": "2"})
        )
        api.set_tag(trial, tracking.PARENT_TAG, killed)
        with step_run("search", tags={"worker": 1}) as run:
            statuses = [api.get_run(each).info.status for each in (killed, trial, twin, run.id)]
    assert statuses == ["KILLED", "KILLED", "RUNNING", "RUNNING"]


def test_a_step_without_a_pipeline_has_a_run_of_its_own():
    with step_run("evaluate") as run:
        pass
    assert tracking.PARENT_TAG not in run.api.get_run(run.id).data.tags


def test_an_exception_ends_the_run_as_failed():
    with pytest.raises(ValueError, match="boom"), step_run("train") as run:
        raise ValueError("boom")
    assert run.api.get_run(run.id).info.status == "FAILED"


def test_a_run_that_cannot_be_closed_is_told_in_one_line(monkeypatch, caplog):
    def close(*_):
        raise RuntimeError("(raised by autoflush)\n(sqlite3.OperationalError) database or disk is full\n[SQL: UPDATE]")

    monkeypatch.setattr(tracking, "close_dead_runs", lambda _: None)
    monkeypatch.setattr(tracking, "_close", close)
    with pytest.raises(ValueError, match="boom"), start_run("countries", "demo"):
        raise ValueError("boom")
    (told,) = [record.getMessage() for record in caplog.records if "could not be closed" in record.getMessage()]
    assert "\n" not in told
    assert "the database: database or disk is full — free some space" in told


def test_what_a_killed_process_left_open_is_closed():
    api, open_before = tracking.client(), []

    def command():
        with start_run("countries", "demo") as parent:
            experiment = api.get_run(parent.id).info.experiment_id
            step = api.create_run(experiment, run_name="train", tags={tracking.PARENT_TAG: parent.id})
            open_before.extend([parent.id, step.info.run_id])
            raise SystemExit(143)  # what a signal makes of a command

    with pytest.raises(SystemExit):
        command()
    assert [api.get_run(run).info.status for run in open_before] == ["KILLED", "KILLED"]

    dead = api.create_run("0", tags={tracking.PROCESS_TAG: processes.identity().rpartition(" ")[0] + " 1"}).info.run_id
    alive = api.create_run("0", tags={tracking.PROCESS_TAG: processes.identity()}).info.run_id
    foreign = api.create_run("0").info.run_id
    with start_run("countries", "next"):
        assert [api.get_run(run).info.status for run in (dead, alive, foreign)] == ["KILLED", "RUNNING", "RUNNING"]


def test_many_and_long_parameters_are_logged_within_the_limits_of_mlflow(caplog):
    params = {"long": "x" * 7000} | {f"p{index}": index for index in range(250)}
    with step_run("train", params) as run:
        pass
    stored = run.api.get_run(run.id).data.params
    assert len(stored) == 251
    assert len(stored["long"]) == tracking.PARAM_LENGTH
    assert "long: value of 7000 characters is cut" in caplog.text


def test_flatten_joins_keys_with_dots():
    assert flatten({"a": {"b": 1, "c": {"d": None}}, "e": [1]}) == {"a.b": 1, "a.c.d": None, "e": [1]}


def test_a_deleted_experiment_is_told_with_what_restores_it():
    found = tracking.experiment_id("countries")
    tracking.client().delete_experiment(found)
    with pytest.raises(UserError, match=f"deleted in MLflow.*experiments restore --experiment-id {found}"):
        tracking.experiment_id("countries")


def test_runs_and_artifacts_lie_in_a_home_of_any_name(monkeypatch, tmp_path):
    name = "o'hara 50%41 ?x=y#z"
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / name))
    (tmp_path / "note.txt").write_text("hello")
    with start_run("countries", "demo") as run:
        run.log_artifact(tmp_path / "note.txt")
    assert (tmp_path / name / "mlflow.db").is_file()
    assert (tmp_path / name / "mlartifacts" / "countries" / run.id / "artifacts" / "note.txt").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([name, "note.txt"])


def test_passwords_reach_no_parameter_and_no_tag():
    url = "postgresql://me:secret@db/optuna"
    with step_run("search", {"storage": url}) as run:
        run.set_tags({"storage": url})
    stored = run.api.get_run(run.id).data
    assert stored.params["storage"] == stored.tags["storage"] == "postgresql://me:***@db/optuna"


def test_a_home_that_was_moved_keeps_its_artifacts(tmp_path, monkeypatch):
    old, new = tmp_path / "an old home", tmp_path / "a new home"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MMKGC_HOME", str(old))
    (tmp_path / "note.txt").write_text("kept")
    with tracking.start_run("places", "one", {"graph_uri": f"{old}/store/graphs/0a", "other": str(old) + "er"}) as run:
        run.log_artifact(tmp_path / "note.txt")
    old.rename(new)
    monkeypatch.setenv("MMKGC_HOME", str(new))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")  # MLflow sets it
    api = tracking.client()
    found = api.get_run(run.id)
    assert [item.path for item in api.list_artifacts(run.id)] == ["note.txt"]
    assert found.data.tags["graph_uri"] == f"{new}/store/graphs/0a"
    assert found.data.tags["other"] == f"{old}er"
    assert api.get_experiment_by_name("places").artifact_location == (new / "mlartifacts" / "places").as_uri()


def test_a_copied_home_is_left_alone(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MMKGC_HOME", str(old))
    tracking.experiment_id("places")
    shutil.copytree(old, new)
    assert not moved.follow(new / "mlflow.db", new)
