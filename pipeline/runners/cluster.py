"""Settings of steps on a Kubeflow cluster: resources, addresses of storage and MLflow, and the run they belong to."""

import json
from collections.abc import Callable
from math import ceil

from kfp import dsl, kubernetes
from kfp.dsl import PipelineTask

from mmkgc.components.runtime import pipeline_run
from mmkgc.components.runtime.pod_settings import CONFIG, CONFIG_KEYS, OPTIONAL_CONFIG_KEYS, OPTIONAL_SECRETS, WRITABLE
from mmkgc.pipeline.config import Recipe
from mmkgc.pipeline.pods import Pod

RUN_LABEL = "metadata.labels['pipeline/runid']"
ANNOTATION = "mmkgc/run"
LOGS_RECIPE = "evaluate"
"""The step that logs the recipe to MLflow; it always runs and is never cached."""


def prepare(recipe: Recipe, image: str | None = None) -> Callable[[PipelineTask], None]:
    """A function that adds the cluster's settings to a task of the recipe's pipeline.

    Run id and recipe are environment variables from the pod's label and annotation. As parameters they would be part of
    the cache key, so that no step would ever be found in the cache.
    """
    tags = {"mmkgc.dataset": recipe.dataset, "mmkgc.seed_group": recipe.seed_group}
    tags |= pipeline_run.source(f"mmkgc submit {recipe.name}", "JOB")
    about = {"experiment": recipe.name, "name": recipe.title, "tags": tags}
    parameters = {"params": recipe.compared}

    def add(task: PipelineTask) -> None:
        step = task.component_spec.name.partition("-")[0]  # extract-visual → extract
        pod = recipe.cluster.of(step)
        _environment(task, pod)
        told = about | (parameters if step == LOGS_RECIPE else {})
        kubernetes.add_pod_annotation(task, ANNOTATION, json.dumps(told))
        kubernetes.use_field_path_as_env(task, "MMKGC_PIPELINE_RUN", RUN_LABEL)
        kubernetes.use_field_path_as_env(task, "MMKGC_RUN", f"metadata.annotations['{ANNOTATION}']")
        _resources(task, pod)
        kubernetes.set_security_context(task, run_as_user=recipe.cluster.run_as_user, run_as_non_root=True)
        if recipe.cluster.pull_secrets:
            kubernetes.set_image_pull_secrets(task, list(recipe.cluster.pull_secrets))
        if image:
            task.set_container_image(image)

    return add


def pipeline_config(recipe: Recipe) -> dsl.PipelineConfig:
    """Settings of the whole run: its workspace, deadline, and how long its pods are kept."""
    cluster = recipe.cluster
    return dsl.PipelineConfig(
        workspace=dsl.WorkspaceConfig(size=cluster.workspace) if cluster.workspace else None,
        active_deadline_seconds=_seconds(cluster.hours),
        ttl_seconds_after_finished=_seconds(cluster.keep_hours),
    )


def _environment(task: PipelineTask, pod: Pod) -> None:
    kubernetes.use_config_map_as_env(task, CONFIG, {key: key for key in CONFIG_KEYS})
    kubernetes.use_config_map_as_env(task, CONFIG, {key: key for key in OPTIONAL_CONFIG_KEYS}, optional=True)
    for secret, keys in OPTIONAL_SECRETS.items():
        kubernetes.use_secret_as_env(task, secret, {key: key for key in keys}, optional=True)
    threads = str(max(1, ceil(pod.cpu)))
    own = WRITABLE | {"OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads} | pod.env
    spec = task.container_spec
    assert spec
    spec.env = {**(spec.env or {}), **own}  # set_env_variable reads the source of every caller, for each variable


def _resources(task: PipelineTask, pod: Pod) -> None:
    task.set_cpu_request(f"{pod.cpu:g}").set_cpu_limit(f"{pod.cpu:g}")
    task.set_memory_request(pod.memory).set_memory_limit(pod.memory)
    if pod.gpu:
        task.set_accelerator_type(pod.gpu_type).set_accelerator_limit(pod.gpu)
    kubernetes.empty_dir_mount(task, "tmp", "/tmp")
    kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=pod.shm)
    kubernetes.set_timeout(task, _seconds(pod.hours) or 0)
    for key, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pod.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if pod.retries:
        task.set_retry(num_retries=pod.retries, backoff_duration="30s", backoff_factor=2.0)


def _seconds(hours: float | None) -> int | None:
    return None if hours is None else max(1, round(hours * 3600))
