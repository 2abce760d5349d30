"""What the MLflow run of a whole pipeline shows of its evaluation, so that the table of runs can be read and sorted."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmkgc.components.evaluate.summary import metric
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.tracking import Run

Points = Sequence[tuple[float, float]]
CURVES = {"loss": "train/loss", "dev_mrr": "dev/mrr"}
"""Training metrics that the pipeline's run repeats, so that charts compare runs and not their steps."""
NOTE = "mlflow.note.content"  # MLflow shows this tag as the description


def log(run: Run, results: Mapping[str, Any], bundle: Bundle, curves: Mapping[str, Points]) -> None:
    """Log test metrics, the development MRR and the curves, and describe the run in a sentence.

    Baselines and slices stay with the run of the evaluate step: in the charts of all runs they hide the models.
    """
    run.log_metrics(metrics(results))
    for name, points in curves.items():
        for epoch, value in points if name in CURVES else ():
            run.log_metrics({CURVES[name]: value}, step=int(epoch))
    made = bundle.provenance
    if made.get("dev_mrr") is not None:
        run.log_metrics({"dev/best_mrr": made["dev_mrr"], "train/best_epoch": made.get("best_epoch", 0)})
    run.set_tags({NOTE: sentence(results, bundle), "protocol": results["protocol"]["label"]})


def metrics(results: Mapping[str, Any]) -> dict[str, float]:
    """Test metrics under the names of the evaluate step, with the bounds of the MRR."""
    counted = results["protocol"]["ties"]
    prefix = "test" if counted == "realistic" else results["protocol"]["name"]
    sides, (low, high) = results["metrics"][counted], results["intervals"]["mrr"]
    named = {f"{prefix}/{name}": value for name, value in sides["both"].items() if name not in ("amr", "amri")}
    named |= {f"{prefix}/{side}/mrr": sides[side]["mrr"] for side in ("head", "tail") if side in sides}
    named |= {f"{prefix}/mrr_low": low, f"{prefix}/mrr_high": high, "baseline/mrr": results["baseline"]["both"]["mrr"]}
    if results["without_self"]:
        named[f"{prefix}/without_self/mrr"] = results["without_self"]["both"]["mrr"]
    if results["reliability"]:
        named["calibration/expected_error"] = results["reliability"]["expected_error"]
    return named


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
