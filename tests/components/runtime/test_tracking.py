import pytest

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.tracking import flatten, parent_run, start_run, step_run


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
    assert stored.data.metrics == {"dev.mrr": 0.5}
    assert stored.inputs.dataset_inputs[0].dataset.name == "countries"
    assert [file.path for file in step.api.list_artifacts(step.id)] == ["note.txt"]


def test_on_a_cluster_the_parent_is_found_by_the_pipeline_run(monkeypatch):
    with start_run("countries", "demo", {tracking.PIPELINE_TAG: "kfp-17"}) as parent:
        pass
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "kfp-17")
    assert parent_run().id == parent.id
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "another")
    assert parent_run() is None


def test_a_step_without_a_pipeline_has_a_run_of_its_own():
    with step_run("evaluate") as run:
        pass
    assert tracking.PARENT_TAG not in run.api.get_run(run.id).data.tags


def test_an_exception_ends_the_run_as_failed():
    with pytest.raises(ValueError, match="boom"), step_run("train") as run:
        raise ValueError("boom")
    assert run.api.get_run(run.id).info.status == "FAILED"


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
