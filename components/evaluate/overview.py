"""What the MLflow run of a whole pipeline shows of its evaluation, so that the table of runs can be read and sorted."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkgc.components.evaluate.summary import metric
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.tracking import Run

Points = Sequence[tuple[float, float]]
CURVES = {"loss": "train/loss", "dev_mrr": "dev/mrr"}
"""Training metrics that the pipeline's run repeats, so that charts compare runs and not their steps."""
ADJUSTED = ("amr", "amri")  # they compare datasets rather than runs
NOTE = "mlflow.note.content"  # MLflow shows this tag as the description


def log(
    run: Run, results: Mapping[str, Any], tracked: Mapping[str, float], bundle: Bundle, curves: Mapping[str, Points]
) -> None:
    """Log test metrics, the development MRR and the curves, and describe the run in a sentence.

    Baselines and slices stay with the run of the evaluate step: in the charts of all runs they hide the models.
    """
    run.log_metrics(metrics(results, tracked))
    for name, points in curves.items():
        for epoch, value in points if name in CURVES else ():
            run.log_metrics({CURVES[name]: value}, step=int(epoch))
    made = bundle.provenance
    if made.get("dev_mrr") is not None:
        run.log_metrics({"dev/best_mrr": made["dev_mrr"], "train/best_epoch": made.get("best_epoch", 0)})
    run.set_tags({NOTE: sentence(results, bundle), "protocol": results["protocol"]["label"]})


def metrics(results: Mapping[str, Any], tracked: Mapping[str, float]) -> dict[str, float]:
    """Those of the metrics ``tracked`` in the evaluate step by which runs are compared, and the bounds of the MRR."""
    prefix = prefix_of(results)
    both = (name for name in results["metrics"][results["protocol"]["ties"]]["both"] if name not in ADJUSTED)
    names = [*both, "head/mrr", "tail/mrr", "without_self/mrr", "without_self/hits_at_1"]
    chosen = [*(f"{prefix}/{name}" for name in names), "baseline/mrr", "calibration/expected_error"]
    low, high = results["intervals"]["mrr"]
    shown = {name: tracked[name] for name in chosen if name in tracked}
    return shown | {f"{prefix}/mrr_low": low, f"{prefix}/mrr_high": high}


def prefix_of(results: Mapping[str, Any]) -> str:
    """Beginning of the names of test metrics; those of the OpenKE protocol have another than the standard ones."""
    protocol = results["protocol"]
    return "test" if protocol["ties"] == "realistic" else str(protocol["name"])


def sentence(results: Mapping[str, Any], bundle: Bundle) -> str:
    """Data, model, and test MRR with its bounds beside that of the baseline."""
    data, (low, high) = results["dataset"], results["intervals"]["mrr"]
    model = results["metrics"][results["protocol"]["ties"]]["both"]["mrr"]
    parts = [bundle.model.config.interaction, bundle.model.config.fusion, bundle.config.get("negatives")]
    made = ", ".join(part["name"] for part in parts if part)
    return (
        f"{data['name']}: {made}. Test MRR {metric('mrr', model)} [{metric('mrr', low)}, {metric('mrr', high)}], "
        f"{results['baseline']['name']} {metric('mrr', results['baseline']['both']['mrr'])}."
    )
