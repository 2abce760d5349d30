"""``make test-containers``: the images under the rules of a cautious cluster.

``steps`` runs every step of a submitted pipeline within the limits of its recipe, against MLflow in the image
``mlflow``; ``serve`` answers with a model that exists. Not part of ``make test``: the images have to be built, which
takes minutes and gigabytes. Containers run as a UID that no image knows, with a read-only root, without capabilities,
and within the memory that the manifests state. ``ENGINE`` is podman (``kube play`` needs catatonit); containers use
this machine's network.
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

from mmkgc.pipeline.cli import mmkgc
from mmkgc.pipeline.runners import watch
from tests.pipeline.conftest import write_dataset  # noqa: F401
from tests.pipeline.test_cluster_run import RECIPE
from tests.services.kubeflow.api import KubeflowPipelines
from tests.services.kubeflow.container import ENGINE, HARDENED, ContainerPod
from tests.services.kubeflow.fixtures import cluster, s3_endpoint  # noqa: F401
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
        [ENGINE, "run", "--rm", *options, SERVE, *command(port)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
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


@pytest.fixture
def submit(cluster, write_dataset, tmp_path, monkeypatch):  # noqa: F811
    """Submit the small graph to a stand-in whose pods are containers; MLflow is a container too."""
    (port,) = _free_ports(1)
    cluster.make_pod, cluster.image = ContainerPod, {}
    store = cluster.config_maps["mmkgc"] | {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
    cluster.config_maps["mmkgc"] = store
    for name, value in (store | cluster.secrets["mmkgc-s3"]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "laptop"))
    monkeypatch.setenv("MMKGC_IMAGE", STEPS)
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.5)
    recipe = tmp_path / "places.yaml"
    recipe.write_text(RECIPE.format(name="places", dataset=write_dataset(tmp_path / "places")))
    with mlflow(port), KubeflowPipelines(cluster) as standing:

        def submit(*options):
            result = CliRunner().invoke(mmkgc, ["submit", str(recipe), "--host", standing.host, *options])
            pods = [pod for workflow in standing.workflows.values() for pod in workflow.pods]
            logs = "\n".join(f"--- {pod.name}\n{pod.log.read_text()[-2000:]}" for pod in pods)
            return result, logs

        yield submit


@contextlib.contextmanager
def mlflow(port: int) -> Iterator[None]:
    """The image ``mlflow`` with an SQLite database; the Deployment names PostgreSQL, which needs no other image."""
    name = f"mmkgc-test-{port}"
    server = ["mlflow", "server", "--host=127.0.0.1", f"--port={port}", "--workers=1"]
    server += ["--backend-store-uri=sqlite:////tmp/mlflow.db", "--artifacts-destination=/tmp/artifacts"]
    started = subprocess.Popen(
        [ENGINE, "run", "--rm", *HARDENED, f"--name={name}", "--tmpfs=/tmp:rw,mode=1777", MLFLOW, *server],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(f"http://127.0.0.1:{port}/health"):
            assert started.poll() is None, "MLflow's container ended"
            assert time.monotonic() < deadline, "MLflow does not answer"
            time.sleep(0.5)
        yield
    finally:
        subprocess.run([ENGINE, "rm", "--force", name], capture_output=True, check=False)
        started.wait(60)


def _healthy(url: str) -> bool:
    try:
        return httpx.get(url, timeout=10).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.timeout(1800)
def test_every_step_runs_within_its_limits_and_one_beyond_them_is_told_with_its_limit(submit):
    result, logs = submit()
    assert result.exit_code == 0, result.output + logs
    assert "registered places version 1" in result.output
    result, logs = submit("--set", "cluster.train={memory: 100Mi, retries: 0}", "--param", "code=other")
    assert result.exit_code == 1, result.output
    assert "memory limit of 100Mi — raise cluster.train.memory in the recipe" in result.output, result.output + logs
