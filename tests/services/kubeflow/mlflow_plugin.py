"""KFP 2.17's MLflow plugin: a parent run a pipeline run, a nested run a task, told to the tasks by environment."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient

DEFAULT_EXPERIMENT = "KFP-Default"
ENDED = {"SUCCEEDED": "FINISHED", "CANCELED": "KILLED"}


class MLflowPlugin:
    """Writes to the MLflow server or database at ``uri``; a database's experiments keep files in ``artifacts``."""

    def __init__(self, uri: str, artifacts: Path) -> None:
        self.uri, self.api = uri, MlflowClient(uri)
        self.artifacts = artifacts.as_uri() if uri.startswith("sqlite:") else None
        self.parents: dict[str, Any] = {}

    def begin_run(self, run_id: str, name: str, plugins_input: dict[str, Any]) -> None:
        experiment = plugins_input.get("mlflow", {}).get("experiment_name", DEFAULT_EXPERIMENT)
        found = self.api.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self.api.create_experiment(experiment, self.artifacts)
        self.parents[run_id] = self.api.create_run(number, tags={"kfp.pipeline_run_id": run_id}, run_name=name)

    def end_run(self, run_id: str, state: str) -> None:
        self.api.set_terminated(self.parents[run_id].info.run_id, ENDED.get(state, "FAILED"))

    def begin_task(self, run_id: str, name: str) -> dict[str, str]:
        """The variables that the task's pod gets."""
        parent = self.parents[run_id].info
        nested = self.api.create_run(
            parent.experiment_id, tags={"mlflow.parentRunId": parent.run_id, "kfp.task_name": name}, run_name=name
        )
        return {
            "MLFLOW_TRACKING_URI": self.uri,
            "MLFLOW_EXPERIMENT_ID": parent.experiment_id,
            "MLFLOW_RUN_ID": nested.info.run_id,
        }

    def end_task(self, begun: dict[str, str], status: str) -> None:
        self.api.set_terminated(begun["MLFLOW_RUN_ID"], status)
