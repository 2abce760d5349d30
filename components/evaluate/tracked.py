"""Evaluations and training curves stored in MLflow."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import mlflow_literal

if TYPE_CHECKING:
    from mlflow.entities import Run

CURVES = {
    "loss": "training loss",
    "dev_mrr": "development MRR",
    "mans_beta": "share β of modality-aware negatives",
    "hardness_negatives": "hardness of negatives, mean σ(s⁻ − s⁺)",
    "hardness_adversarial": "hardness of MAT's fakes, mean σ(s⁻ − s⁺)",
    "hardness_graded": "hardness of DHNS's generated entities, mean σ(s⁻ − s⁺)",
}
"""Training metrics that are drawn if a run has them."""


@dataclass(frozen=True)
class Evaluated:
    """An evaluation and the run that made it.

    ``run``: the run of the whole pipeline, or of the evaluate step alone; None if only the folder is known. ``step``:
    the run of the evaluate step, whose artifacts the evaluation is.
    """

    label: str
    folder: Path
    run: "Run | None" = None
    step: "Run | None" = None

    @property
    def begun(self) -> str:
        """Local time of the run's start; empty if the run is not known."""
        return begun(self.run) if self.run else ""

    @property
    def params(self) -> dict[str, str]:
        """Parameters of the run."""
        return dict(self.run.data.params) if self.run else {}


def evaluation(run: str, target: Path, artifacts: Iterable[str] = ("ranks.parquet", "metrics.json")) -> Evaluated:
    """The evaluation of ``run``: a folder, or the id (or its beginning) of an MLflow run.

    The MLflow run is that of a pipeline or of its evaluate step; its ``artifacts`` are copied to ``target``. Raises
    UserError if there is none.
    """
    if (Path(run) / "ranks.parquet").is_file():
        return Evaluated(Path(run).resolve().name[:12], Path(run))
    step = _step(_find(run), "evaluate")
    api = tracking.client()
    present = {file.path for file in api.list_artifacts(step.info.run_id)}
    for name in artifacts:
        if name in present:
            api.download_artifacts(step.info.run_id, name, str(target))
    parent = step.data.tags.get(tracking.PARENT_TAG)
    shown = api.get_run(parent) if parent else step
    return Evaluated(f"{shown.info.run_name} {shown.info.run_id[:6]}", target, shown, step)


def begun(run: "Run") -> str:
    """Local time of the start of a run."""
    return datetime.fromtimestamp(run.info.start_time / 1000).strftime("%Y-%m-%d %H:%M")


def evaluated_runs(count: int) -> "list[Run]":
    """The newest runs of whole pipelines that have test metrics, newest first."""
    api = tracking.client()
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    found = api.search_runs(experiments, max_results=5000, order_by=["attributes.start_time DESC"])
    whole = [run for run in found if "mmkgc.step" not in run.data.tags and test_mrr(run) is not None]
    return whole[:count]


def test_mrr(run: "Run") -> float | None:
    """MRR of the test split under the protocol of the run; None if it was not evaluated."""
    return next((run.data.metrics[name] for name in ("test/mrr", "openke/mrr") if name in run.data.metrics), None)


def steps_of(run: "Run") -> "list[Run]":
    """The runs of the steps of a pipeline, in the order in which they began."""
    query = f"tags.`{tracking.PARENT_TAG}` = {mlflow_literal(run.info.run_id)}"
    order = ["attributes.start_time ASC"]
    return list(tracking.client().search_runs([run.info.experiment_id], query, max_results=1000, order_by=order))


def curves_of_bundle(bundle_uri: str) -> dict[str, list[tuple[float, float]]]:
    """Curves ``{metric: [(epoch, value)]}`` of the training that made a bundle; empty if MLflow does not know it.

    The bundle is found by its digest, independently of its location.
    """
    run = run_of_bundle(bundle_uri)
    return histories(run, CURVES) if run else {}


def run_of_bundle(bundle_uri: str) -> "Run | None":
    """The last MLflow run of a training that made a bundle; None if MLflow does not know it."""
    api = tracking.client()
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    digest = mlflow_literal(f"%/{PurePosixPath(bundle_uri).name}")
    runs = api.search_runs(experiments, f"tags.bundle LIKE {digest}", max_results=1)
    return runs[0] if runs else None


def histories(run: "Run", metrics: Iterable[str]) -> dict[str, list[tuple[float, float]]]:
    """Curves ``{metric: [(epoch, value)]}`` of a run, of those of the ``metrics`` that it has."""
    api = tracking.client()
    found = {metric: api.get_metric_history(run.info.run_id, metric) for metric in metrics}
    return {metric: sorted((p.step, p.value) for p in points) for metric, points in found.items() if points}


def _find(run: str) -> "Run":
    api = tracking.client()
    experiments = [experiment.experiment_id for experiment in api.search_experiments()]
    pages = api.search_runs(experiments, max_results=5000)
    matches = [found for found in pages if found.info.run_id.startswith(run)]
    if len(matches) == 1:
        return matches[0]
    problem = f"{len(matches)} runs begin so" if matches else "no such MLflow run or evaluation folder"
    recent = ", ".join(f"{r.info.run_id[:8]} ({r.info.run_name})" for r in pages if "mmkgc.step" not in r.data.tags)
    raise UserError(f"run {run}", problem, f"runs: {recent[:300]}" if recent else "run `mmkgc run countries` first")


def _step(run: "Run", step: str) -> "Run":
    if run.data.tags.get("mmkgc.step") == step:
        return run
    api = tracking.client()
    query = f"tags.`{tracking.PARENT_TAG}` = {mlflow_literal(run.info.run_id)} AND tags.`mmkgc.step` = '{step}'"
    found = api.search_runs([run.info.experiment_id], query, max_results=1)
    if not found:
        raise UserError(f"run {run.info.run_id[:8]}", f"it has no {step} step", "give a run of the whole pipeline")
    return found[0]
