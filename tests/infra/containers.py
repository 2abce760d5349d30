"""``make test-containers``: the images under the rules of a cautious cluster.

``steps`` runs every step of a submitted pipeline within the limits of its recipe, against MLflow in the image
``mlflow`` with users, PostgreSQL and S3; ``serve`` answers with the model that came out. Not part of ``make test``: the
images have to be built, which takes minutes and gigabytes. Containers run as a UID that no image knows, with a
read-only root, without capabilities, and within the memory that the manifests state. ``ENGINE`` is podman (``kube
play`` needs catatonit); containers use this machine's network.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from click.testing import CliRunner
from typing_extensions import override

from mmkgc.components.runtime import tracking
from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import watch
from tests.pipeline.conftest import write_dataset  # noqa: F401
from tests.pipeline.test_cluster_run import RECIPE
from tests.services.kubeflow.api import KubeflowPipelines
from tests.services.kubeflow.container import ENGINE, HARDENED, ContainerPod
from tests.services.kubeflow.pod import Cluster
from tests.services.production import Production, user
from tests.services.swift import _free_ports
from tests.serving.conftest import random_bundle

VERSION = os.environ.get("VERSION", "0.2.0")
SERVE, STEPS, MLFLOW = (f"localhost/{name}:{VERSION}" for name in ("mmkgc-serve", "mmkgc", "mmkgc-mlflow"))
DEPLOYMENT = Path(__file__).parents[2] / "infra" / "kubernetes" / "base" / "serving" / "deployment.yaml"
KEY = "an-application-key"
START_SECONDS = float(os.environ.get("START_SECONDS", "300"))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle that any user can read; ``BUNDLE`` names the folder of one that a run has made."""
    folder = tmp_path / "bundle"
    if made := os.environ.get("BUNDLE"):
        shutil.copytree(made, folder)
    else:
        random_bundle().save(folder)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    """The serving container of the Deployment."""
    return yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]["containers"][0]


def command(port: int) -> list[str]:
    return ["mmkgc", "serve", "--host=127.0.0.1", f"--port={port}", "--bundle=/bundle", "--name=countries"]


@contextlib.contextmanager
def serving(bundle: Path, port: int, memory: str) -> Iterator[subprocess.Popen]:
    """The image in a container of its own, which is gone afterwards."""
    name = f"mmkgc-test-{port}"
    options = [*HARDENED, f"--name={name}", f"--memory={memory}", f"--volume={bundle}:/bundle:ro"]
    options += ["--tmpfs=/tmp:rw,mode=1777,size=2g", f"--env=MMKGC_API_KEYS={KEY}", "--env=OMP_NUM_THREADS=1"]
    started = subprocess.Popen(
        [ENGINE, "run", "--rm", *options, SERVE, *command(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=bundle.parent,  # where podman's monitor leaves a file `oom` if the memory did not suffice
    )
    try:
        yield started
    finally:
        subprocess.run([ENGINE, "rm", "--force", name], capture_output=True, check=False)
        started.wait(60)


def answered(port: int, running: subprocess.Popen | None = None) -> None:
    """Wait until the model answers, with a key and not without one."""
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and (running is None or running.poll() is None):
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/readyz", timeout=10).status_code == 200:
                break
        time.sleep(0.5)
    else:
        output = running.stdout.read().decode() if running and running.poll() is not None else ""
        raise AssertionError(f"no answer within {START_SECONDS:g} s\n{output}")
    key = {"authorization": f"Bearer {KEY}"}
    head = httpx.get(f"{url}/v1/entities", headers=key, timeout=30).json()["entities"][0]["key"]
    relation = httpx.get(f"{url}/v1/relations", headers=key, timeout=30).json()["relations"][0]["key"]
    query = {"queries": [{"head": head, "relation": relation, "k": 3}]}
    assert httpx.post(f"{url}/v1/complete", json=query, timeout=30).status_code == 401
    found = httpx.post(f"{url}/v1/complete", json=query, headers=key, timeout=30).json()
    assert len(found["answers"][0]["predictions"]) == 3


def test_serve_answers_and_ends_on_sigterm(bundle, container):
    (port,) = _free_ports(1)
    memory = container["resources"]["limits"]["memory"].removesuffix("i").lower()
    with serving(bundle, port, memory) as running:
        answered(port, running)
        subprocess.run([ENGINE, "stop", "--time=60", f"mmkgc-test-{port}"], check=True, capture_output=True)
        assert running.wait(90) == 0
        assert b"stopped" in running.stdout.read()


def test_the_deployment_runs_with_its_own_security_context_and_limits(bundle, container, tmp_path):
    """The manifest itself, by ``podman kube play``; only its model comes from a folder instead of the registry."""
    (port,) = _free_ports(1)
    deployment = yaml.safe_load(DEPLOYMENT.read_text())
    pod = deployment["spec"]["template"]["spec"]
    deployment["metadata"]["name"] = f"test-{port}"
    deployment["spec"]["replicas"] = 1
    pod["hostNetwork"] = True
    pod.pop("topologySpreadConstraints")
    changed = pod["containers"][0] | {"image": SERVE, "command": command(port), "args": []}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "envFrom", "ports"):
        changed.pop(probe)  # podman 4.3 knows no port names in probes; the addresses are of a cluster
    changed["env"] = [{"name": "MMKGC_API_KEYS", "value": KEY}, {"name": "OMP_NUM_THREADS", "value": "1"}]
    mounts = [mount for mount in changed["volumeMounts"] if mount["name"] == "tmp"]
    changed["volumeMounts"] = [*mounts, {"name": "bundle", "mountPath": "/bundle", "readOnly": True}]
    pod["containers"] = [changed]
    pod["volumes"] = [{"name": "tmp", "emptyDir": {}}, {"name": "bundle", "hostPath": {"path": str(bundle)}}]
    file = tmp_path / "deployment.yaml"
    file.write_text(yaml.safe_dump(deployment))
    played = [ENGINE, "kube", "play", "--network=host"]
    try:
        made = subprocess.run([*played, str(file)], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        answered(port)
    finally:
        subprocess.run([ENGINE, "kube", "play", "--down", str(file)], capture_output=True, check=False)


def test_a_pod_with_too_little_memory_is_killed(bundle):
    (port,) = _free_ports(1)
    with serving(bundle, port, "200m") as running:
        output, _ = running.communicate(timeout=START_SECONDS)
        assert running.returncode != 0, output.decode()


class InContainers(Production):
    """The same services; MLflow's server and serving run in their images, and the steps' pods in theirs. PostgreSQL and
    Swift, of which the project makes no images, stay processes.
    """

    @override
    def cluster(self, folder: Path) -> Cluster:
        cluster = super().cluster(folder)
        cluster.make_pod, cluster.image = ContainerPod, {}
        return cluster

    @override
    def _started(self, name: str, command: list[str], given: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        pod = self.manifests.pods()["mmkgc-serve" if name == "serve" else "mlflow"]["spec"]
        memory = pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("i").lower()
        (self.folder / "serving").mkdir(exist_ok=True)
        for path in (self.folder, *self.folder.iterdir()):
            path.chmod(0o777)  # the container's user is another one
        options = [*HARDENED, f"--memory={memory}", f"--memory-swap={memory}", "--tmpfs=/tmp:rw,mode=1777,size=2g"]
        options += [f"--volume={self.folder}:{self.folder}", "--env=OMP_NUM_THREADS=1"]
        options += [f"--env={variable}={value}" for variable, value in given.items()]
        return [ENGINE, "run", "--rm", *options, SERVE if name == "serve" else MLFLOW, *command], dict(os.environ)


@pytest.fixture(scope="module")
def services(tmp_path_factory) -> Iterator[InContainers]:
    with contextlib.ExitStack() as stack:
        yield InContainers(tmp_path_factory.mktemp("services"), stack)


@pytest.fixture
def submit(services, write_dataset, tmp_path, monkeypatch):  # noqa: F811
    """Submit the small graph under a name, from a laptop that knows the addresses."""
    for name, value in (services.config | services.keys | user("pipeline")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("MMKGC_IMAGE", STEPS)
    monkeypatch.setenv("KFP_TOKEN", "secret")
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.5)
    dataset = write_dataset(tmp_path / "places")
    with KubeflowPipelines(services.cluster(tmp_path), token="secret") as standing:

        def submit(model, *options):
            recipe = tmp_path / f"{model}.yaml"
            recipe.write_text(RECIPE.format(name=model, dataset=dataset))
            result = CliRunner().invoke(mmkgc, ["submit", str(recipe), "--host", standing.host, *options])
            pods = [pod for workflow in standing.workflows.values() for pod in workflow.pods]
            logs = "\n".join(f"--- {pod.name}\n{pod.log.read_text()[-2000:]}" for pod in pods)
            return result, logs, len(pods)

        yield submit


@pytest.mark.timeout(3600)
def test_a_submitted_model_answers_with_every_service_of_a_cluster(services, submit):
    """MLflow with users on PostgreSQL, artifacts in S3: two recipes are two models, and a repeated step is cached."""
    result, logs, first = submit("places")
    assert result.exit_code == 0, result.output + logs
    assert "registered places version 1" in result.output
    result, logs, second = submit("towns")
    assert result.exit_code == 0, result.output + logs
    assert "registered towns version 1" in result.output
    result, logs, third = submit("places")
    assert result.exit_code == 0, result.output + logs
    assert third - second < second - first, "nothing has changed since the first submission"
    # two epochs do not pass the gate; the pipeline's user owns the model and may decide so
    tracking.client().set_registered_model_alias("towns", "champion", "1")
    keys = services.folder / "keys"
    keys.write_text(f"{KEY}\n")
    query = {"queries": [{"head": "City 0", "relation": "lies in", "k": 3}]}
    with services.served("towns", keys) as url:
        assert httpx.post(f"{url}/v1/complete", json=query, timeout=30).status_code == 401
        key = {"authorization": f"Bearer {KEY}"}
        answered = httpx.post(f"{url}/v1/complete", json=query, headers=key, timeout=30).json()
    assert answered["model"] == {"name": "towns", "version": "1"}
    assert len(answered["answers"][0]["predictions"]) == 3


@pytest.mark.timeout(1800)
def test_a_step_beyond_its_limit_is_told_with_the_limit(submit):
    result, logs, _ = submit("small", "--set", "cluster.train={memory: 100Mi, retries: 0}")
    assert result.exit_code == 1, result.output
    assert "memory limit of 100Mi — raise cluster.train.memory in the recipe" in result.output, result.output + logs
