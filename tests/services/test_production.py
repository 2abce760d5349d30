"""From a submission to an answered query, with every service that a cluster has, also while one of them is away.

``OUTAGE_SECONDS=60`` makes the outages longer than the few seconds of a usual test run (``make test-outages``).
"""

import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable

import httpx
import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import watch
from tests.pipeline.conftest import write_dataset  # noqa: F401
from tests.pipeline.test_cluster_run import RECIPE
from tests.services.kubeflow.api import KubeflowPipelines
from tests.services.production import BIN, production, user
from tests.services.swift import SWIFT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.service("postgresql"),
    pytest.mark.service("swift"),
    pytest.mark.service("kubectl"),
    pytest.mark.timeout(1800),
]
OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "5"))
LONG_TRAINING = ("--set", "train.epochs=12", "--set", "train.checkpoint_seconds=0")


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    if not (SWIFT / "swift-proxy-server").exists():
        pytest.skip("OpenStack Swift is not installed: run tests/services/swift.sh")
    with production(tmp_path_factory.mktemp("production")) as running:
        yield running


@pytest.fixture
def kubeflow(services, tmp_path, monkeypatch):
    """The stand-in, and an engineer's laptop that knows the addresses."""
    cluster = services.cluster(tmp_path)
    for name, value in (services.config | services.keys | user("pipeline")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("MMKGC_IMAGE", f"registry.test/mmkgc@sha256:{'ab' * 32}")
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.5)
    with KubeflowPipelines(cluster, token="secret", backoff=3) as standing:
        monkeypatch.setenv("KFP_TOKEN", "secret")
        yield standing


@pytest.fixture
def submit(kubeflow, write_dataset, tmp_path):  # noqa: F811
    """Submit a recipe of the small graph under a name."""
    dataset = write_dataset(tmp_path / "places")

    def submit(name, *options):
        recipe = tmp_path / f"{name}.yaml"
        recipe.write_text(RECIPE.format(name=name, dataset=dataset))
        return command("submit", str(recipe), *options)

    def command(*words):
        return CliRunner().invoke(mmkgc, [*words, "--host", kubeflow.host])

    submit.command = command
    return submit


class Sabotage(threading.Thread):
    """Calls an action for each step, once, with the step's first pod as soon as that pod's condition holds."""

    def __init__(self, kubeflow, actions):
        super().__init__(daemon=True)
        self.kubeflow, self.waiting = kubeflow, dict(actions)
        self.done, self.stopped = [], threading.Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.join()

    def run(self):
        while self.waiting and not self.stopped.wait(0.02):
            for (step, holds), act in list(self.waiting.items()):
                for pod in pods(self.kubeflow, step)[:1]:
                    if pod.process and holds(pod):
                        del self.waiting[step, holds]
                        act(pod)
                        self.done.append(step)


def pods(kubeflow, step):
    """The pods of a step, in the order of its attempts."""
    return [pod for workflow in kubeflow.workflows.values() for pod in list(workflow.pods) if f"-{step}-" in pod.name]


def begun(pod):
    return True


def has_checkpoint(pod):
    """Whether a checkpoint is complete; one that is being written lies in a folder below."""
    return any((pod.cluster.folder / "workspaces").glob("*/train/*/checkpoint.pt"))


def runs_of(experiment):
    """The MLflow runs of a recipe."""
    api = tracking.client()
    return api.search_runs([api.get_experiment_by_name(experiment).experiment_id])


def assert_store_is_whole(services):
    """Every folder that the store lists is complete and holds what its digest says."""
    storage = open_storage()
    listings = [file.path for file in storage.files("") if re.fullmatch(r"[\w-]+/[0-9a-f]{64}\.json", file.path)]
    assert listings
    for path in listings:
        storage.fetch(storage.uri(path.removesuffix(".json")))


def logs(kubeflow):
    workflows = list(kubeflow.workflows.values())
    return "\n".join(f"--- {pod.name}\n{pod.log.read_text()[-3000:]}" for each in workflows for pod in each.pods)


def test_a_submitted_model_answers_from_another_home_with_a_key(services, kubeflow, submit, tmp_path):
    result = submit("towns")
    assert result.exit_code == 0, result.output + logs(kubeflow)
    assert "registered towns version 1" in result.output
    # two epochs do not pass the gate; the pipeline's user owns the model and may decide so
    tracking.client().set_registered_model_alias("towns", "champion", "1")
    keys = tmp_path / "keys"
    keys.write_text("an-application-key\n")
    query = {"queries": [{"head": "City 0", "relation": "lies in", "k": 3}]}
    with services.served("towns", keys) as url:
        assert httpx.post(f"{url}/v1/complete", json=query, timeout=30).status_code == 401
        answered = httpx.post(
            f"{url}/v1/complete", json=query, headers={"authorization": "Bearer an-application-key"}, timeout=30
        ).json()
    assert answered["model"] == {"name": "towns", "version": "1"}
    assert len(answered["answers"][0]["predictions"]) == 3


def test_a_browser_at_another_address_is_refused_by_mlflow(services):
    url = f"{services.links['mlflow'].url}/api/2.0/mlflow/experiments/search"
    signed = {"auth": tuple(user("serving").values()), "json": {"max_results": 1}, "timeout": 60}
    assert httpx.post(url, **signed).status_code == 200
    assert httpx.post(url, json={"max_results": 1}, timeout=60).status_code == 401
    assert httpx.post(url, headers={"origin": "https://elsewhere.example.org"}, **signed).status_code == 403
    assert httpx.post(url, headers={"host": "elsewhere.example.org"}, **signed).status_code == 403


def test_a_run_survives_a_killed_pod_a_restarted_database_and_each_service_away_for_a_while(services, kubeflow, submit):
    def away(service: str) -> Callable[[object], None]:
        return lambda pod: services.interrupt(service, OUTAGE_SECONDS).join()

    actions = {
        ("ingest", begun): away("mlflow"),
        ("train", begun): lambda pod: services.restart_database(),
        ("train", has_checkpoint): lambda pod: pod.kill(signal.SIGKILL),
        ("evaluate", begun): away("s3"),
        ("register", begun): away("database"),
    }
    with Sabotage(kubeflow, actions) as sabotage:
        result = submit("outages", *LONG_TRAINING)
    assert sabotage.done == ["ingest", "train", "train", "evaluate", "register"]
    assert result.exit_code == 0, result.output + logs(kubeflow)
    assert "registered outages version 1" in result.output
    attempts = {step: len(pods(kubeflow, step)) for step in ("ingest", "train", "evaluate", "package", "register")}
    assert attempts == {"ingest": 1, "train": 2, "evaluate": 1, "package": 1, "register": 1}
    assert "train resumes after epoch" in pods(kubeflow, "train")[1].log.read_text()
    ended = sorted((run.data.tags.get("mmkgc.step", "pipeline"), run.info.status) for run in runs_of("outages"))
    assert [each for each in ended if each[0] == "train"] == [("train", "FINISHED"), ("train", "KILLED")]
    assert {status for step, status in ended if step != "train"} == {"FINISHED"}
    assert_store_is_whole(services)


def test_a_longer_outage_is_told_a_retry_goes_on_and_a_cancelled_run_leaves_nothing(services, kubeflow, submit):
    impatient = "cluster.all={env: {MMKGC_PATIENCE_SECONDS: '1'}, retries: 0}"
    with Sabotage(kubeflow, {("train", begun): lambda pod: services.links["s3"].cut()}):
        failed = submit("longer", *LONG_TRAINING, "--set", impatient)
    services.links["s3"].mend()
    assert failed.exit_code == 1
    assert "the store does not answer" in failed.output, failed.output + logs(kubeflow)
    assert "Traceback" not in failed.output
    (run_id,) = kubeflow.workflows
    assert f"mmkgc retry {run_id}" in failed.output
    resumed = submit.command("retry", run_id, "--no-watch")
    assert resumed.exit_code == 0, resumed.output
    deadline = time.monotonic() + 300
    while not any(map(has_checkpoint, pods(kubeflow, "train"))):
        assert time.monotonic() < deadline, logs(kubeflow)
        time.sleep(0.02)
    cancelled = submit.command("cancel", run_id)
    assert f"run {run_id} was cancelled" in cancelled.output
    assert all(pod.process.poll() is not None for pod in pods(kubeflow, "train"))
    assert len(pods(kubeflow, "ingest")) == 1
    statuses = {run.data.tags.get("mmkgc.step", "pipeline"): run.info.status for run in reversed(runs_of("longer"))}
    assert statuses == {"pipeline": "KILLED", "ingest": "FINISHED", "train": "KILLED"}
    assert_store_is_whole(services)
