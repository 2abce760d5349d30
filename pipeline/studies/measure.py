"""Trains one cell of a study in this process, and measures it."""

from statistics import median
from typing import Any, NamedTuple

from mmkgc.components.evaluate import tracked
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.tracking import Run, client
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cells import Inputs, Trained, test_metrics, train_cell
from mmkgc.pipeline.studies.config import Cell

UNLOGGED = ("triples_per_second", "dev_mrr")  # kept under other names, or not at all


class Job(NamedTuple):
    """A cell to train: its key, inputs, whether test is ranked, and how many threads it may use."""

    key: str
    cell: Cell
    inputs: Inputs
    test: bool
    threads: int | None


def measured(job: Job) -> dict[str, Any]:
    """Train and measure a cell: a row of JSON; one that cannot be trained has a ``problem`` instead of metrics."""
    import torch

    if job.threads:
        torch.set_num_threads(job.threads)
    row = {"key": job.key, "system": job.cell.system, "value": job.cell.value, "seed": job.cell.seed}
    row |= {"graph": job.inputs.graph}
    storage = open_storage()
    try:
        trained = train_cell(job.cell.recipe, job.inputs, storage)
    except UserError as error:
        return row | {"problem": str(error)}
    curves, metrics = _training(job, trained)
    if trained.memory is not None:
        metrics["memory/peak_gb"] = trained.memory / 1e9
    if job.test:
        of_test = test_metrics(trained.bundle.model.freeze(), job.inputs, job.cell.recipe, storage)
        metrics |= named(of_test, "realistic", "test") | named(of_test, "optimistic", "openke")
    _log(job, trained, metrics)
    return row | {"metrics": metrics, "curves": curves, "bundle": trained.uri}


def _training(job: Job, trained: Trained) -> tuple[dict[str, list[tuple[float, float]]], dict[str, float]]:
    """Curves of the training by epoch, and what it took."""
    provenance = trained.bundle.provenance
    metrics = {"epochs/run": provenance["epochs"], "seconds/total": trained.seconds}
    metrics |= {
        name: provenance[key]
        for name, key in (("dev/mrr", "dev_mrr"), ("epochs/best", "best_epoch"))
        if key in provenance
    }
    run = tracked.run_of_bundle(trained.uri)
    curves = tracked.histories(run, run.data.metrics) if run else {}
    if speeds := [value for _, value in curves.get("triples_per_second", [])]:
        metrics["seconds/epoch"] = len(trained.bundle.train) / median(speeds)
    curves = {name: points for name, points in curves.items() if name not in UNLOGGED} | (
        {"dev/mrr": curves["dev_mrr"]} if "dev_mrr" in curves else {}
    )
    last = {f"train/{name}": points[-1][1] for name, points in curves.items() if name != "dev/mrr"}
    return curves, metrics | last


def named(found: dict[str, dict[str, Any]], ties: str, prefix: str) -> dict[str, float]:
    """Metrics of both sides as ``test/mrr``, of one side as ``test/head/mrr``."""
    return {
        f"{prefix}/{name}" if side == "both" else f"{prefix}/{side}/{name}": value
        for side, values in found[ties].items()
        for name, value in values.items()
    }


def _log(job: Job, trained: Trained, metrics: dict[str, float]) -> None:
    """Name the training's MLflow run after the cell, and add its test metrics."""
    if (found := tracked.run_of_bundle(trained.uri)) is None:
        return
    api = client()
    api.update_run(found.info.run_id, name=job.cell.label)
    run = Run(api, found.info.run_id)
    run.set_tags({"study.system": job.cell.system, "study.value": job.cell.value, "study.seed": job.cell.seed})
    run.log_metrics({name: value for name, value in metrics.items() if not name.startswith("train/")})
