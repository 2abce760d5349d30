"""The MLflow run of a whole pipeline, created by the first step and found by the others.

``MLFLOW_RUN_ID``        the pipeline's run, set by the local runner; or the task's nested run, which
                         Kubeflow's MLflow plugin creates and ends
``MMKGC_PIPELINE_RUN``   the id of the Kubeflow run (the pod's label): the pipeline's run carries it as a tag
``MMKGC_RUN``            JSON (the pod's annotation): experiment, name and tags of a run to create, and, for one step,
                         the recipe as parameters
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from mmkgc.components.runtime.quoting import mlflow_literal
from mmkgc.components.runtime.revision import UNKNOWN, revision
from mmkgc.components.runtime.settings import variable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PARENT_TAG = "mlflow.parentRunId"
PIPELINE_TAG = "mmkgc.pipeline_run"
COMMAND_TAG = "mmkgc.command"
"""The command that makes such a run; its name in MLflow, the source, is shorter."""
PLUGIN_TAG = "kfp.pipeline_run_id"
SETTLE_SECONDS = 1.0
"""Time after which simultaneously started steps see each other's runs."""


def source(command: str, kind: Literal["LOCAL", "JOB"]) -> dict[str, str]:
    """Tags by which MLflow's pages show the source of a pipeline's run: the command, and whether it ran here."""
    return {"mlflow.source.name": command, "mlflow.source.type": kind}


def commit() -> dict[str, str]:
    """Tag with the commit of the code that runs; none if it is not known."""
    found = revision()
    return {} if found == UNKNOWN else {"mlflow.source.git.commit": found}


def description() -> dict[str, Any]:
    """Content of ``MMKGC_RUN``; empty outside a cluster."""
    return json.loads(variable("MMKGC_RUN") or "{}")


def find(api: "MlflowClient", pipeline_run: str) -> "Run | None":
    """The run of a Kubeflow run, ours or the plugin's; the oldest if simultaneous steps created several."""
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    for tag in (PLUGIN_TAG, PIPELINE_TAG):
        found = api.search_runs(experiments, f"tags.`{tag}` = {mlflow_literal(pipeline_run)}", max_results=100)
        top = [run for run in found if PARENT_TAG not in run.data.tags]
        if top:
            return min(top, key=lambda run: (run.info.start_time, run.info.run_id))
    return None


def parent(api: "MlflowClient", experiment_id: Any) -> "Run | None":
    """The run of the pipeline that this step belongs to; None without a pipeline.

    ``experiment_id`` returns the id of an experiment by name and creates it if it is missing.
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
    """The run that Kubeflow's MLflow plugin created for this task; None without the plugin."""
    injected = variable("MLFLOW_RUN_ID")
    run = api.get_run(injected) if injected else None
    return run if run and PARENT_TAG in run.data.tags else None


@contextmanager
def kept_open(api: "MlflowClient", run: "Run | None") -> Iterator[None]:
    """Set the status of the pipeline's run from this step, on a cluster without the plugin."""
    if run is None or PIPELINE_TAG not in run.data.tags or not variable("MMKGC_PIPELINE_RUN"):
        yield
        return
    number = run.info.run_id
    api.update_run(number, status="RUNNING")
    try:
        yield
    except BaseException as error:
        api.set_terminated(number, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    if api.get_run(number).info.status not in ("FAILED", "KILLED"):  # set by a parallel step
        api.set_terminated(number, "FINISHED")


def _made(api: "MlflowClient", pipeline_run: str, experiment_id: Any) -> "Run | None":
    """Create a run; if a parallel step created one too, the older one is kept."""
    about = description()
    if not about:
        return None
    tags = {PIPELINE_TAG: pipeline_run, **about["tags"], **commit()}
    made = api.create_run(experiment_id(about["experiment"]), run_name=about["name"], tags=tags)
    time.sleep(SETTLE_SECONDS)
    kept = find(api, pipeline_run) or made
    if kept.info.run_id != made.info.run_id:
        api.delete_run(made.info.run_id)
    return kept
