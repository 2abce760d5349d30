"""The MLflow run of a pipeline and the nested run of each step.

One pipeline run is one parent run; every executed step opens a nested run under it. A step gets its parent from the
environment, not from its parameters: a run id in a cache key would prevent caching (``pipeline_run``).
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkgc.components.runtime import database, failures, moved, pipeline_run, processes
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.in_use import in_use
from mmkgc.components.runtime.pipeline_run import PARENT_TAG, PIPELINE_TAG
from mmkgc.components.runtime.quoting import masked, sqlite_file
from mmkgc.components.runtime.settings import Settings, variable
from mmkgc.components.runtime.tracking_server import check_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["PARENT_TAG", "PIPELINE_TAG", "Run", "client", "parent_run", "start_run", "step_run"]

log = logging.getLogger(__name__)

KIND = {"mlflow.experimentKind": "custom_model_development"}  # MLflow then shows runs and charts, not chats
PROCESS_TAG = "mmkgc.process"
RUNNING = "attributes.status = 'RUNNING'"
PARAMS_PER_CALL = 100  # MLflow's limit of one log_batch call
METRICS_PER_CALL = 1000
PARAM_LENGTH = 6000


def client() -> "MlflowClient":
    """MLflow client of the store that the environment names; an embedded database is created if there is none.

    Artifacts of the embedded store are in ``$MMKGC_HOME/mlartifacts``.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    import mlflow

    uri = Settings.from_env().tracking_uri
    check_server(uri)
    mlflow.set_tracking_uri(uri)
    if path := sqlite_file(uri):
        _prepare(path, Settings.from_env().home)
    return mlflow.MlflowClient(uri)


@cache
def _prepare(path: Path, home: Path) -> None:
    """Create the embedded database if there is none, and correct it if the home was moved; once per process."""
    database.ensure(path)
    if moved.follow(path, home):
        log.warning("%s was moved: the places of its artifacts in MLflow are corrected", home)


def pages(search: Callable[..., Any]) -> Iterator[Any]:
    """All results of an MLflow search, page by page."""
    token: str | None = None
    while True:
        page = search(page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def experiment_id(name: str) -> str:
    """Id of the experiment, which is created on first use. Raises UserError where it was deleted."""
    from mlflow.exceptions import MlflowException

    api = client()
    found = api.get_experiment_by_name(name)
    if found and found.lifecycle_stage == "deleted":  # its name stays reserved, and it accepts no runs
        mend = f"`mlflow experiments restore --experiment-id {found.experiment_id}` restores it; or choose another name"
        raise UserError(f"experiment '{name}'", f"it was deleted in MLflow at {masked(api.tracking_uri)}", mend)
    if found:
        return found.experiment_id
    settings = Settings.from_env()
    embedded = sqlite_file(settings.tracking_uri)
    try:
        location = (settings.home / "mlartifacts" / name).as_uri() if embedded else None
        return api.create_experiment(name, artifact_location=location, tags=KIND)
    except MlflowException:  # another process was first
        found = api.get_experiment_by_name(name)
        if found is None:
            raise
        return found.experiment_id


class Run:
    """One MLflow run, addressed by its id. There is no global state: a process may have several runs open."""

    def __init__(self, api: "MlflowClient", run_id: str) -> None:
        self.api, self.id = api, run_id

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested parameters under dotted names; values that are too long are cut, with a warning."""
        from mlflow.entities import Param

        entries = [Param(key, _short(key, value)) for key, value in flatten(params).items()]
        for start in range(0, len(entries), PARAMS_PER_CALL):
            self.api.log_batch(self.id, params=entries[start : start + PARAMS_PER_CALL])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics of one step (an epoch, say)."""
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        entries = [Metric(key, float(value), now, step) for key, value in metrics.items()]
        for start in range(0, len(entries), METRICS_PER_CALL):
            self.api.log_batch(self.id, metrics=entries[start : start + METRICS_PER_CALL])

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags; values become text."""
        for key, value in tags.items():
            self.api.set_tag(self.id, key, masked(value))

    def log_artifact(self, path: Path, folder: str | None = None) -> None:
        """Upload a file, or everything in a folder."""
        upload = self.api.log_artifacts if path.is_dir() else self.api.log_artifact
        upload(self.id, str(path), folder)

    def log_dataset(self, name: str, digest: str, source: str, counts: Mapping[str, int], context: str) -> None:
        """Record a dataset as an input of the run (lineage); ``context`` is its purpose, e.g. ``training``."""
        import json

        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(name, digest[:36], "local", json.dumps({"uri": source}), profile=json.dumps(dict(counts)))
        self.api.log_inputs(self.id, [DatasetInput(dataset, [InputTag("mlflow.data.context", context)])])

    def log_model(self, model_id: str) -> None:
        """Record a LoggedModel as an output of the run, which MLflow's pages link; once."""
        from mlflow.entities import LoggedModelOutput

        outputs = self.api.get_run(self.id).outputs
        if model_id not in [output.model_id for output in (outputs.model_outputs if outputs else ())]:
            self.api.log_outputs(self.id, [LoggedModelOutput(model_id, step=0)])


@contextmanager
def start_run(experiment: str, name: str, tags: Mapping[str, Any] | None = None) -> Iterator[Run]:
    """Open a run; it ends ``FINISHED``, ``FAILED`` after an exception, or ``KILLED`` by a signal.

    Nested runs that are still open are ended as ``KILLED``. Runs of processes that have ended are closed first.
    """
    with in_use():
        api = client()
        close_dead_runs(api)
        tags = {k: str(v) for k, v in (tags or {}).items()} | {PROCESS_TAG: processes.identity()}
        created = api.create_run(experiment_id(experiment), run_name=name, tags=tags)
        with _ending(Run(api, created.info.run_id)) as run:
            yield run


@contextmanager
def step_run(
    name: str, params: Mapping[str, Any] | None = None, tags: Mapping[str, Any] | None = None
) -> Iterator[Run]:
    """Open the nested run of the step ``name`` under the pipeline's run; a top-level run if there is no pipeline.

    If Kubeflow's MLflow plugin created a run for the task, that run is used. SIGTERM to the pod ends it as ``KILLED``;
    a pod that was killed otherwise left its run open, which its next attempt, known by the same ``tags``, ends. A run
    that ends well has the memory and the processor time of its process as metrics, from which pods can be sized.
    """
    on_cluster = bool(variable("MMKGC_PIPELINE_RUN"))  # a local run's command closes the runs of its steps
    api = client()
    parent = pipeline_run.parent(api, experiment_id)
    given = {"mmkgc.step": name, PROCESS_TAG: processes.identity(), **(tags or {})}
    if on_cluster and parent:
        _close_earlier_attempts(api, parent, given)
    ended = processes.terminable() if on_cluster else nullcontext()
    with ended, pipeline_run.kept_open(api, parent), _ending(_nested(api, name, parent)) as run:
        run.set_tags(given)
        run.log_params(params or {})
        if parent and (recipe := pipeline_run.description().get("params")):
            Run(api, parent.info.run_id).log_params(recipe)
        yield run
        run.log_metrics(processes.usage())


def _nested(api: "MlflowClient", name: str, parent: Any) -> Run:
    if made := pipeline_run.task_run(api):
        return Run(api, made.info.run_id)
    experiment = parent.info.experiment_id if parent else experiment_id("mmkgc")
    family = {PARENT_TAG: parent.info.run_id} if parent else {}
    own = {PROCESS_TAG: processes.identity()} | family
    return Run(api, api.create_run(experiment, run_name=name, tags=own).info.run_id)


def _close_earlier_attempts(api: "MlflowClient", parent: Any, tags: Mapping[str, Any]) -> None:
    """End as ``KILLED`` the open runs of earlier pods of the step that has these tags."""
    same = {key: masked(value) for key, value in tags.items() if key != PROCESS_TAG}
    for run in api.search_runs([parent.info.experiment_id], _open_below(parent.info.run_id)):
        if same.items() <= run.data.tags.items():
            _close(api, run.info.run_id, "KILLED")


def parent_run() -> Run | None:
    """The pipeline's run, to which steps add results of the whole pipeline (final metrics, registered version)."""
    api = client()
    parent = pipeline_run.parent(api, experiment_id)
    return Run(api, parent.info.run_id) if parent else None


@contextmanager
def _ending(run: Run) -> Iterator[Run]:
    try:
        yield run
    except BaseException as error:
        try:
            _close(run.api, run.id, "FAILED" if isinstance(error, Exception) else "KILLED")
        except Exception as second:  # a full disk, an unreachable server: report the first error
            log.warning("the MLflow run %s could not be closed: %s", run.id, failures.told(second)[0])
        raise
    _close(run.api, run.id, "FINISHED")


def close_dead_runs(api: "MlflowClient") -> None:
    """End as ``KILLED`` the runs that killed processes of this machine left open."""
    for run_id in dead_runs(api):
        _close(api, run_id, "KILLED")


def dead_runs(api: "MlflowClient") -> list[str]:
    """Ids of the open runs of processes of this machine that have ended."""
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    runs = api.search_runs(experiments, RUNNING, max_results=1000)
    return [r.info.run_id for r in runs if (p := r.data.tags.get(PROCESS_TAG)) and processes.has_ended(p)]


def _close(api: "MlflowClient", run_id: str, status: str) -> None:
    """End a run; nested runs that are still open are ended as ``KILLED``, since their process was killed."""
    experiment = api.get_run(run_id).info.experiment_id
    for child in api.search_runs([experiment], _open_below(run_id)):
        _close(api, child.info.run_id, "KILLED")
    api.set_terminated(run_id, status)


def _open_below(run_id: str) -> str:
    """Query for the open runs that are nested in a run."""
    return f"{RUNNING} AND tags.`{PARENT_TAG}` = '{run_id}'"


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mapping to dotted names: ``{"train": {"epochs": 5}}`` → ``{"train.epochs": 5}``."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _short(key: str, value: Any) -> str:
    text = masked(value)
    if len(text) > PARAM_LENGTH:
        log.warning("%s: value of %d characters is cut to %d for MLflow", key, len(text), PARAM_LENGTH)
    return text[:PARAM_LENGTH]
