"""Training on several machines: the train step submits a Kubeflow TrainJob and follows it.

The job runs ``train`` under torchrun, in as many pods as ``train.nodes`` says, with the step's image, configuration and
passwords. Its main process publishes the bundle and writes the bundle's address where the step finds it.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required
from mmkgc.components.runtime.files import read_json
from mmkgc.components.runtime.image import IMAGE
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.pod_settings import CONFIG, CONFIG_KEYS, OPTIONAL_CONFIG_KEYS, OPTIONAL_SECRETS, WRITABLE
from mmkgc.components.runtime.processes import supervised
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainjob_api import created, delete, follow
from mmkgc.components.train.trainjob_process import packed
from mmkgc.feature_store.storage import Storage, Stored

RUNTIME = "torch-distributed"
"""The ClusterTrainingRuntime of Kubeflow Trainer that starts torchrun."""
POD, CONTAINER = "node", "node"
PASSED_ON = ("MMKGC_PIPELINE_RUN", "MMKGC_RUN", "MLFLOW_RUN_ID", "MMKGC_PATIENCE_SECONDS", "OMP_NUM_THREADS")
"""Variables of the step's pod that the job's pods get too; none is secret."""


class Trainer(NamedTuple):
    """A client of Kubeflow Trainer, and the options of its jobs beside their name."""

    client: Any
    options: tuple[Any, ...] = ()


def train_on_nodes(
    graph_uri: str,
    feature_uris: Mapping[str, str],
    config: TrainConfig,
    storage: Storage,
    best_uri: str | None = None,
    trainer: Trainer | None = None,
) -> Stored:
    """As ``train``, in a TrainJob of ``config.nodes`` pods; returns what its main process published.

    The job's name is a digest of what it does, so that a step that is started again follows the job of the one before
    it. The job's output is printed as it comes. If this process is stopped, the job is deleted. Raises UserError if the
    job fails, or if no cluster can be reached.
    """
    if best_uri:
        config = config.override(read_json(storage.fetch(best_uri) / "best.json")["overrides"])
    trainer = trainer or of_cluster()
    task = {"graph": graph_uri, "features": dict(sorted(feature_uris.items())), "config": config.model_dump_json()}
    name = f"mmkgc-train-{digests.of_json([task, digests.of_code(), os.environ.get('MMKGC_PIPELINE_RUN', '')])[:16]}"
    result = f"trainjobs/{name}.json"
    with supervised():
        _submit(trainer, name, task | {"result": result}, config)
        try:
            follow(trainer.client, name)
        except BaseException:
            delete(trainer.client, name)
            raise
    return Stored(**json.loads(storage.read(result)))


def of_cluster() -> Trainer:
    """The client of the cluster that this process runs in. Raises UserError outside one."""
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        what = "several machines need a cluster, and this run has none"
        raise UserError("train.nodes", what, "start it by `mmkgc submit`, or set train.nodes=1")
    with required():
        from kubeflow.trainer import TrainerClient

    return Trainer(TrainerClient(), (pod_settings(),))


def pod_settings() -> Any:
    """The option that gives the job's pods what the steps' pods have: addresses, passwords, a writable /tmp."""
    from kubeflow.trainer.options.kubernetes import (
        ContainerPatch,
        JobSetSpecPatch,
        JobSetTemplatePatch,
        JobSpecPatch,
        JobTemplatePatch,
        PodSpecPatch,
        PodTemplatePatch,
        ReplicatedJobPatch,
        RuntimePatch,
        TrainingRuntimeSpecPatch,
    )

    container = ContainerPatch(CONTAINER, env=_environment(), volume_mounts=[{"name": "tmp", "mountPath": "/tmp"}])
    pod = PodSpecPatch(volumes=[{"name": "tmp", "emptyDir": {}}], containers=[container])
    job = ReplicatedJobPatch(POD, JobTemplatePatch(spec=JobSpecPatch(PodTemplatePatch(spec=pod))))
    return RuntimePatch(TrainingRuntimeSpecPatch(JobSetTemplatePatch(spec=JobSetSpecPatch([job]))))


def work(given: dict | None = None, **parameters: str) -> None:
    """What each process of the job does, by ``take_part``; Kubeflow copies this function's text alone."""
    from mmkgc.components.train.trainjob_process import take_part

    take_part(**(given or parameters))


def _submit(trainer: Trainer, name: str, task: Mapping[str, Any], config: TrainConfig) -> None:
    """Create the job, unless it is there already."""
    from kubeflow.trainer import CustomTrainer
    from kubeflow.trainer.options.common import Name

    passed = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
    custom = CustomTrainer(
        func=work,
        func_args={"task": packed(task)},
        image=IMAGE,
        num_nodes=config.nodes,
        resources_per_node=dict(config.node_resources) or None,
        env=WRITABLE | passed,
    )
    options = [Name(name), *trainer.options]
    if created(lambda: trainer.client.train(runtime=RUNTIME, trainer=custom, options=options)):
        print(f"train submitted {name}: {counted(config.nodes, 'node')}", flush=True)
    else:
        print(f"train follows {name}, which is there already", flush=True)


def _environment() -> list[dict[str, Any]]:
    """References to the cluster's ConfigMap and secrets, none of whose values stands in the job."""
    keys = [(key, False) for key in CONFIG_KEYS] + [(key, True) for key in OPTIONAL_CONFIG_KEYS]
    found = [_reference(key, "configMapKeyRef", CONFIG, optional) for key, optional in keys]
    return found + [
        _reference(key, "secretKeyRef", secret, True) for secret, keys in OPTIONAL_SECRETS.items() for key in keys
    ]


def _reference(key: str, kind: str, name: str, optional: bool) -> dict[str, Any]:
    return {"name": key, "valueFrom": {kind: {"name": name, "key": key, "optional": optional}}}
