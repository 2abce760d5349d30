"""From a submission to an answered query, with every service that a cluster has."""

import shutil

import httpx
import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
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
    pytest.mark.timeout(900),
]


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
        return CliRunner().invoke(mmkgc, ["submit", str(recipe), "--host", kubeflow.host, *options])

    return submit


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
