"""Reads the metrics and model of a Kubeflow run from MLflow, and ends the MLflow runs of a cancelled run."""

import os
from collections.abc import Iterator
from typing import Any

from mmkgc.components.runtime import pipeline_run, tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.runtime.tracking_server import check_server

ENDED = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELED": "KILLED", "SKIPPED": "FINISHED"}
SHOWN = ("test/mrr", "test/hits_at_1", "test/hits_at_10", "baseline/mrr")


def warning() -> str | None:
    """What is wrong with MLflow as seen from this machine, within seconds; None if nothing is, or none is named here.

    It does not end a submission: pods have addresses and passwords of their own.
    """
    uri = Settings.from_env().tracking_uri
    if "MLFLOW_TRACKING_URI" not in os.environ or not uri.startswith("http"):
        return None
    try:
        check_server(uri)
    except UserError as error:
        return f"{error}; no metrics will be shown here, and steps with the same settings will fail"
    return None


def lines(run_id: str) -> Iterator[str]:
    """Lines that summarize an ended run, or one sentence if MLflow is not configured or does not answer."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        yield "metrics and model are in the cluster's MLflow (set MLFLOW_TRACKING_URI to see them here)"
        return
    try:
        found = pipeline_run.find(_client(), run_id)
    except Exception as error:  # MLflow passes on exceptions of its store
        yield f"MLflow at {Settings.from_env().tracking_uri} does not answer: {_first_line(error)}"
        return
    if found is None:
        yield "MLflow knows no run of it"
        return
    metrics = [f"{name} {found.data.metrics[name]:.4f}" for name in SHOWN if name in found.data.metrics]
    if metrics:
        yield "   ".join(metrics)
    tags = found.data.tags
    if "model" in tags:
        promoted = "now champion" if tags.get("promoted") == "True" else "not promoted"
        yield f"registered {tags['model']}: {promoted}\n  {tags.get('gate', '')}"
    if link := _link(found):
        yield f"MLflow:    {link}"


def close(run_id: str, state: str) -> None:
    """End the MLflow runs that killed pods left open. Does nothing if MLflow cannot be reached."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        return
    try:
        api = _client()
        top = pipeline_run.find(api, run_id)
        if top is None:
            return
        query = f"tags.`{pipeline_run.PARENT_TAG}` = '{top.info.run_id}'"
        for run in api.search_runs([top.info.experiment_id], query, max_results=1000):
            if run.info.status in ("RUNNING", "SCHEDULED"):
                api.set_terminated(run.info.run_id, "KILLED")
        api.set_terminated(top.info.run_id, ENDED[state])
    except Exception:
        return


def _client() -> Any:
    """An MLflow client that fails within seconds if its server is absent."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "6")
    return tracking.client()


def _link(run: Any) -> str | None:
    address = Settings.from_env().tracking_uri
    if not address.startswith("http"):
        return None
    return f"{address.rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
