"""The stand-in for Kubeflow Pipelines keeps Kubeflow's rules, seen through kfp's own client."""

import time

import kfp
import kfp_server_api
import pytest
from kfp import dsl, kubernetes

from tests.services.kubeflow.api import KubeflowPipelines

IMAGE = {"base_image": "any", "install_kfp_package": False}


@dsl.component(**IMAGE)
def write(text: str, result: dsl.Output[dsl.Dataset]) -> str:
    from pathlib import Path

    Path(result.path).write_text(text)
    result.metadata["length"] = len(text)
    return text.upper()


@dsl.component(**IMAGE)
def read(given: dsl.Input[dsl.Dataset]):
    from pathlib import Path

    print("read", Path(given.path).read_text(), given.metadata["length"])


@dsl.component(**IMAGE)
def say(text: str):
    print("said", text)


@dsl.component(**IMAGE)
def point_elsewhere(result: dsl.Output[dsl.Dataset]):
    result.uri = "s3://bucket/elsewhere"


@dsl.component(**IMAGE)
def succeed_at_last(place: str):
    from pathlib import Path

    tries = Path(place)
    tries.write_text((tries.read_text() if tries.exists() else "") + "x")
    assert len(tries.read_text()) > 2


@dsl.component(**IMAGE)
def show_environment():
    import os

    print("environment", *sorted(os.environ))


@dsl.component(**IMAGE)
def sleep():
    import time

    print("asleep", flush=True)
    time.sleep(60)


@pytest.fixture
def client(kubeflow):
    return kfp.Client(host=kubeflow.host, existing_token="secret", namespace="")


@pytest.fixture
def run(kubeflow, client):
    """Run a pipeline to its end: its state, and its steps' states and logs by name."""

    def run(pipeline, wait=True, **parameters):
        made = client.create_run_from_pipeline_func(pipeline, arguments=parameters, experiment_name="tests")
        if not wait:
            return made.run_id
        kubeflow.wait(made.run_id, 60)
        return client.get_run(made.run_id)

    return run


def logs(kubeflow, run_id):
    """What the run's pods have printed; a pod that is not started has no log yet."""
    return "\n".join(pod.log.read_text() for pod in kubeflow.workflows[run_id].pods if pod.log.exists())


def states(run):
    return {detail.display_name: detail.state for detail in run.run_details.task_details}


def test_artifacts_and_parameters_go_from_task_to_task_and_unchanged_tasks_are_cached(kubeflow, run):
    @dsl.pipeline(name="hand-on")
    def pipeline(text: str):
        written = write(text=text)
        read(given=written.outputs["result"])
        with dsl.If(written.outputs["Output"] == "HELLO"):
            say(text="as expected")
        with dsl.ParallelFor([1, 2], name="both"):
            say(text="twice").set_caching_options(False)

    first = run(pipeline, text="hello")
    assert first.state == "SUCCEEDED"
    said = logs(kubeflow, first.run_id)
    assert "read hello 5" in said
    assert "as expected" in said
    assert said.count("said twice") == 2
    again = run(pipeline, text="hello")
    assert "SKIPPED" in [detail.state for detail in again.run_details.task_details if detail.display_name == "executor"]
    assert logs(kubeflow, again.run_id).splitlines().count("said twice") == 2
    assert "read hello" not in logs(kubeflow, again.run_id)
    other = run(pipeline, text="bye")
    assert "as expected" not in logs(kubeflow, other.run_id)


def test_an_output_that_points_outside_the_pipeline_root_fails_its_task(kubeflow, run):
    @dsl.pipeline(name="elsewhere")
    def pipeline():
        point_elsewhere()

    ended = run(pipeline)
    assert ended.state == "FAILED"
    assert states(ended)["point-elsewhere"] == "FAILED"
    errors = [detail.error.message for detail in ended.run_details.task_details if detail.error]
    assert any("failed to upload output artifact s3://bucket/elsewhere" in error for error in errors)


def test_a_failed_task_is_tried_again_and_a_failed_run_goes_on_where_it_failed(kubeflow, client, run, tmp_path):
    @dsl.pipeline(name="again")
    def pipeline(place: str):
        begun = say(text="once")
        succeed_at_last(place=place).after(begun).set_retry(1)

    failed = run(pipeline, place=str(tmp_path / "tries"))
    assert failed.state == "FAILED"
    assert states(failed)["executor(1)"] == "FAILED"
    client._run_api.run_service_retry_run(failed.run_id)
    assert kubeflow.wait(failed.run_id) == "SUCCEEDED"
    assert logs(kubeflow, failed.run_id).count("said once") == 1


def test_a_pod_sees_what_the_manifests_give_it_and_nothing_else(kubeflow, run, monkeypatch):
    monkeypatch.setenv("LEAKED", "from the machine")

    @dsl.pipeline(name="environment")
    def pipeline():
        task = show_environment()
        kubernetes.use_config_map_as_env(task, "mmkgc", {"AWS_REGION": "AWS_REGION"})
        kubernetes.use_secret_as_env(task, "absent", {"PASSWORD": "PASSWORD"}, optional=True)
        kubernetes.use_field_path_as_env(task, "RUN", "metadata.labels['pipeline/runid']")

    seen = logs(kubeflow, run(pipeline).run_id).split()
    assert {"AWS_REGION", "RUN"} <= set(seen)
    assert not {"LEAKED", "PASSWORD", "AWS_ACCESS_KEY_ID"} & set(seen)


def test_a_secret_that_is_missing_starts_no_container(run):
    @dsl.pipeline(name="secret")
    def pipeline():
        kubernetes.use_secret_as_env(show_environment(), "absent", {"PASSWORD": "PASSWORD"})

    ended = run(pipeline)
    errors = [detail.error.message for detail in ended.run_details.task_details if detail.error]
    assert any('secret "absent" not found' in error for error in errors)


def test_a_terminated_run_leaves_no_pod(kubeflow, client, run):
    @dsl.pipeline(name="sleep")
    def pipeline():
        say(text="never").after(sleep())

    number = run(pipeline, wait=False)
    while "asleep" not in logs(kubeflow, number):
        time.sleep(0.05)
    client.terminate_run(number)
    assert kubeflow.wait(number, 20) == "CANCELED"
    assert all(pod.process.poll() is not None for pod in kubeflow.workflows[number].pods)
    assert "never" not in logs(kubeflow, number)


@pytest.mark.parametrize(
    ("token", "namespace", "number", "status"),
    [("wrong", "team", "any", 401), ("secret", "others", None, 403), ("secret", "team", "any", 404)],
)
def test_errors_are_kubeflows(cluster, token, namespace, number, status):
    with KubeflowPipelines(cluster, token="secret", namespaces=("team",)) as standing:
        client = kfp.Client(host=standing.host, existing_token=token, namespace=namespace)
        with pytest.raises(kfp_server_api.ApiException) as refusal:
            client.get_run(number) if number else client.list_runs(namespace=namespace)
        assert refusal.value.status == status


def test_a_schedule_makes_runs_while_it_is_enabled(kubeflow, client):
    @dsl.pipeline(name="scheduled")
    def pipeline():
        say(text="on time")

    kfp.compiler.Compiler().compile(pipeline, str(kubeflow.cluster.folder / "scheduled.yaml"))
    experiment = client.create_experiment("tests")
    made = client.create_recurring_run(
        experiment.experiment_id, "nightly", cron_expression="0 0 3 * * *",
        pipeline_package_path=str(kubeflow.cluster.folder / "scheduled.yaml"),
    )  # fmt: skip
    assert kubeflow.wait(kubeflow.fire(made.recurring_run_id)["run_id"]) == "SUCCEEDED"
    client.disable_recurring_run(made.recurring_run_id)
    assert kubeflow.fire(made.recurring_run_id) is None
    client.delete_recurring_run(made.recurring_run_id)
    assert client.list_recurring_runs().total_size == 0
