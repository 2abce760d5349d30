"""The MLflow run of a whole pipeline, found or made by whichever step comes first.

``MLFLOW_RUN_ID``        the pipeline's run, set by the local runner; or the task's own run below the pipeline's, which
                         Kubeflow's MLflow plugin makes and ends
``MMKGC_PIPELINE_RUN``   the id of the Kubeflow run (the pod's label): the pipeline's run carries it as a tag
``MMKGC_RUN``            JSON (the pod's annotation): experiment, name and tags of a run that has to be made, and, for
                         one step, the recipe as parameters
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmkgc.components.runtime.quoting import mlflow_literal
from mmkgc.components.runtime.settings import variable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
PIPELINE_TAG = "mmkgc.pipeline_run"
PLUGIN_TAG = "kfp.pipeline_run_id"
SETTLE_SECONDS = 1.0
"""Time in which steps that begin together see the runs that each of them made."""


def description() -> dict[str, Any]:
    """What ``MMKGC_RUN`` says; empty outside a cluster."""
    return json.loads(variable("MMKGC_RUN") or "{}")


def find(api: "MlflowClient", pipeline_run: str) -> "Run | None":
    """The run of a Kubeflow run, ours or the plugin's; the oldest, where steps that began together made several."""
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    for tag in (PLUGIN_TAG, PIPELINE_TAG):
        found = api.search_runs(experiments, f"tags.`{tag}` = {mlflow_literal(pipeline_run)}", max_results=100)
        top = [run for run in found if PARENT_TAG not in run.data.tags]
        if top:
            return min(top, key=lambda run: (run.info.start_time, run.info.run_id))
    return None


def parent(api: "MlflowClient", experiment_id: Any) -> "Run | None":
    """The run of the pipeline that this step belongs to; None where there is no pipeline.

    ``experiment_id`` gives the id of an experiment by name, making it where it is missing.
    """
    if injected := variable("MLFLOW_RUN_ID"):
        run = api.get_run(injected)
        above = run.data.tags.get(PARENT_TAG)
        return api.get_run(above) if above else run
    pipeline_run = variable("MMKGC_PIPELINE_RUN")
    if not pipeline_run:
        return None
    return find(api, pipeline_run) or _made(api, pipeline_run, experiment_id)


def task_run(api: "MlflowClient") -> "Run | None":
    """The run that Kubeflow's MLflow plugin made for this task; None without the plugin."""
    injected = variable("MLFLOW_RUN_ID")
    run = api.get_run(injected) if injected else None
    return run if run and PARENT_TAG in run.data.tags else None


@contextmanager
def kept_open(api: "MlflowClient", run: "Run | None") -> Iterator[None]:
    """Let a pipeline's run that nobody else ends, on a cluster without the plugin, have the state of its steps."""
    if run is None or PIPELINE_TAG not in run.data.tags or not variable("MMKGC_PIPELINE_RUN"):
        yield
        return
    number = run.info.run_id
    api.update_run(number, status="RUNNING")
    try:
        yield
    except BaseException:
        api.set_terminated(number, "FAILED")
        raise
    if api.get_run(number).info.status != "FAILED":  # by a step beside this one
        api.set_terminated(number, "FINISHED")


def _made(api: "MlflowClient", pipeline_run: str, experiment_id: Any) -> "Run | None":
    """A new run; where a step beside this one made its own meanwhile, the older one stays."""
    about = description()
    if not about:
        return None
    tags = {PIPELINE_TAG: pipeline_run, **about["tags"]}
    made = api.create_run(experiment_id(about["experiment"]), run_name=about["name"], tags=tags)
    time.sleep(SETTLE_SECONDS)
    kept = find(api, pipeline_run) or made
    if kept.info.run_id != made.info.run_id:
        api.delete_run(made.info.run_id)
    return kept
