"""The train step on several machines: a TrainJob that the SDK accepts, followed to its bundle."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainjob import CONTAINER, POD, RUNTIME, Trainer, of_cluster, pod_settings, train_on_nodes
from mmkgc.feature_store.storage import Storage, Stored

pytest.importorskip("kubeflow")

SETTINGS: dict[str, Any] = {
    "model": {"dimension": 8, "interaction": "complex", "fusion": "structure"},
    "loss": "cross-entropy",
    "optimizer": {"lr": 0.05},
    "epochs": 2,
    "evaluate_every": 2,
    "nodes": 2,
    "node_resources": {"cpu": "4", "memory": "8Gi"},
}
RUNTIME_CR = {
    "apiVersion": "trainer.kubeflow.org/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": RUNTIME, "labels": {"trainer.kubeflow.org/framework": "torch"}},
    "spec": {
        "mlPolicy": {"numNodes": 1, "torch": {}},
        "template": {
            "spec": {
                "replicatedJobs": [
                    {
                        "name": POD,
                        "template": {
                            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
                            "spec": {"template": {"spec": {"containers": [{"name": CONTAINER, "image": "torch"}]}}},
                        },
                    }
                ]
            }
        },
    },
}


class Cluster:
    """Kubernetes' API as far as a submission needs it; keeps the job that was created."""

    def __init__(self) -> None:
        self.created: list[dict[str, Any]] = []

    def get_cluster_custom_object(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(get=lambda timeout: RUNTIME_CR)

    def get_namespaced_custom_object(self, *_: Any, **__: Any) -> Any:
        from kubernetes.client import ApiException

        raise ApiException(status=404)

    def create_namespaced_custom_object(self, *place: Any) -> None:
        self.created.append(place[-1])


def test_the_job_is_what_the_schema_allows_and_holds_no_secret(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kubeflow.trainer.backends.kubernetes.backend import KubernetesBackend
    from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob

    backend, cluster = KubernetesBackend.__new__(KubernetesBackend), Cluster()
    backend.custom_api, backend.namespace = cluster, "team"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setenv("MMKGC_PIPELINE_RUN", "run-7")
    client = SimpleNamespace(
        train=backend.train, list_jobs=list, delete_job=lambda name: deleted.append(name), wait_for_job_status=stop
    )
    deleted: list[str] = []
    config, trainer = TrainConfig.model_validate(SETTINGS), Trainer(client, (pod_settings(),))
    with pytest.raises(KeyboardInterrupt):
        train_on_nodes("s3://b/graphs/1", {"textual": "s3://b/m.json"}, config, storage, None, trainer)
    (job,) = cluster.created
    assert TrainerV1alpha1TrainJob.from_dict(job).to_dict() == job  # no key that the schema does not know
    assert deleted == [job["metadata"]["name"]]
    made = job["spec"]["trainer"]
    assert made["numNodes"] == 2
    assert made["resourcesPerNode"]["limits"] == {"cpu": "4", "memory": "8Gi"}
    assert {"name": "MMKGC_PIPELINE_RUN", "value": "run-7"} in made["env"]
    assert "torchrun" in " ".join(made["command"])
    assert "take_part" in " ".join(made["command"])
    assert "hush" not in str(job)
    (patched,) = job["spec"]["runtimePatches"][0]["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    (container,) = patched["template"]["spec"]["template"]["spec"]["containers"]
    wanted = {"secretKeyRef": {"name": "mmkgc-s3", "key": "AWS_SECRET_ACCESS_KEY", "optional": True}}
    assert {"name": "AWS_SECRET_ACCESS_KEY", "valueFrom": wanted} in container["env"]


def stop(*_: Any, **__: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.slow
def test_the_local_backend_runs_the_same_job_as_processes(
    toy_mmkg: MMKG,
    storage: Storage,
    graph: Stored,
    mmkgc_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from kubeflow.trainer import LocalProcessBackendConfig, TrainerClient
    from kubeflow.trainer.backends.localprocess import constants

    monkeypatch.setattr(constants, "TORCH_COMMAND", str(Path(sys.executable).with_name("torchrun")))  # installed here
    settings = {
        "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *sys.path]),
        "MMKGC_STORAGE": storage.root, "MMKGC_HOME": str(mmkgc_home), "OMP_NUM_THREADS": "1",
        "PET_NPROC_PER_NODE": "2", "PET_STANDALONE": "1",
    }  # fmt: skip
    monkeypatch.setattr("mmkgc.components.train.trainjob.WRITABLE", settings)
    client = TrainerClient(LocalProcessBackendConfig())
    config = TrainConfig.model_validate(SETTINGS)
    stored = train_on_nodes(graph.uri, {}, config, storage, None, Trainer(client))
    assert Bundle.load(storage.fetch(stored.uri)).entities == toy_mmkg.graph.entities
    assert "train needs about" in capfd.readouterr().out
    broken = config.model_copy(update={"start": str(tmp_path / "nothing")})
    with pytest.raises(RuntimeError, match="there is no model bundle"):
        train_on_nodes(graph.uri, {}, broken, storage, None, Trainer(client))


def test_without_a_cluster_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(
        UserError, match="several machines need a cluster, and this run has none — start it by `mmkgc sub"
    ):
        of_cluster()
