"""The ``evaluate`` step: metrics of a model on the test split, which no other step of a run uses."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate import figures, overview
from mmkgc.components.evaluate.completions import completions
from mmkgc.components.evaluate.config import EvaluateConfig
from mmkgc.components.evaluate.diagnostics import missing_curve
from mmkgc.components.evaluate.gallery import draw
from mmkgc.components.evaluate.labelled import write_labelled
from mmkgc.components.evaluate.link_prediction import LinkPrediction, link_prediction, write_queries
from mmkgc.components.evaluate.negatives import Blob, negatives
from mmkgc.components.evaluate.reliability import Reliability
from mmkgc.components.evaluate.report import REPORT, Block, html, markdown, to_json
from mmkgc.components.evaluate.slices import entity_masks
from mmkgc.components.evaluate.summary import blocks
from mmkgc.components.evaluate.tracked import CURVES, curves_of_bundle
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.classification import LabelledSplits, classify, labelled_splits
from mmkgc.components.kge.graph import Graph
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json, write_json, write_text
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.runtime.tracking import Run, parent_run, step_run
from mmkgc.feature_store.storage import Storage, Stored

__all__ = ["EvaluateConfig", "evaluate"]


def evaluate(graph_uri: str, bundle_uri: str, config: EvaluateConfig, storage: Storage) -> Stored:
    """Evaluate a bundle on the test split; results go to the store, metrics and figures also to MLflow.

    Publishes ``metrics.json``, ``ranks.parquet`` (one row per query), ``classification.parquet``, ``completions.json``,
    ``figures/``, ``report.md``, ``report.html`` and ``report.json``. Raises UserError if the model has another
    vocabulary.
    """
    keep_freed_memory()
    mmkg, bundle = MMKG.load(storage.fetch(graph_uri)), Bundle.load(storage.fetch(bundle_uri))
    _check_vocabulary(mmkg.graph, bundle, graph_uri)
    with step_run("evaluate", config.model_dump()) as run, TemporaryDirectory() as scratch:
        folder = Path(scratch) / "evaluation"
        results = assess(mmkg, bundle, config, folder, storage.blob)
        numbers = tracked_metrics(results)
        run.log_metrics(numbers)
        run.log_artifact(folder)
        curves = curves_of_bundle(bundle_uri)
        _log_training_curves(run, curves, Path(scratch))
        run.set_tags({"protocol": results["protocol"]["label"], "graph_uri": graph_uri, "bundle_uri": bundle_uri})
        _log_lineage(run, mmkg, graph_uri)
        if above := parent_run():
            overview.log(above, results, numbers, bundle, curves)
            above.log_artifact(folder / "figures", "figures")
            above.log_artifact(folder / "report.html")
            _log_lineage(above, mmkg, graph_uri)
        stored = storage.publish(folder, "evaluations")
        run.set_tags({"evaluation_uri": stored.uri})
        return stored


def show(folder: Path, metrics: Any, report: Any) -> None:
    """Write metrics and report text to Kubeflow's artifacts (``dsl.Metrics``, ``dsl.Markdown``).

    The report's figures are left out, because Kubeflow's page cannot read the files of the evaluation.
    """
    for name, value in tracked_metrics(read_json(folder / "metrics.json")).items():
        metrics.log_metric(name.replace("/", "_"), value)
    lines = (folder / "report.md").read_text(encoding="utf-8").splitlines()
    write_text(Path(report.path), "\n".join(line for line in lines if not line.startswith("![")) + "\n")
    write_text(Path(metrics.path), "{}\n")  # the launcher needs a file to upload


def assess(mmkg: MMKG, bundle: Bundle, config: EvaluateConfig, folder: Path, blob: Blob) -> dict[str, Any]:
    """Evaluate ``bundle`` on ``mmkg`` and write everything into ``folder``; returns the content of ``metrics.json``.

    ``blob`` gives the bytes of the graph's images by digest.
    """
    model, graph = bundle.model.freeze(), mmkg.graph
    masks = entity_masks(mmkg, model)
    texts = model.entities.raw("textual") if "textual" in model.entities.modalities else None
    prediction = link_prediction(model, graph, masks, texts, config)
    held_out = len(graph.valid) and not bundle.config.get("refit")  # a refitted model was trained on these triples
    labelled = labelled_splits(model, graph, config.seed)
    reliability = Reliability.of(bundle, graph) if bundle.calibration and len(graph.test) else None
    results = prediction.summary | {
        "protocol": _with_epoch(prediction.summary["protocol"], bundle),
        "classification": classify(labelled, len(graph.relations)) if held_out else None,
        "calibration": bundle.calibration,
        "reliability": reliability and reliability.summary,
        "missing": missing_curve(model, graph, config.missing, config.seed) if held_out else [],
        "dataset": _dataset(mmkg),
    }
    answers = completions(bundle, graph, config.completions, config.answers)
    looked = list(negatives(bundle, mmkg, blob, folder / "figures"))
    _write(folder, mmkg, bundle, prediction, labelled, reliability, results, answers, looked)
    return results


def _write(
    folder: Path,
    mmkg: MMKG,
    bundle: Bundle,
    prediction: LinkPrediction,
    labelled: LabelledSplits,
    reliability: Reliability | None,
    results: dict[str, Any],
    answers: list[dict[str, Any]],
    looked: list[Block],
) -> None:
    write_json(folder / "metrics.json", results)
    write_json(folder / "completions.json", answers)
    write_queries(prediction, mmkg.graph, folder / "ranks.parquet")
    write_labelled(labelled, mmkg.graph, folder / "classification.parquet")
    drawn = draw(bundle, mmkg, prediction, reliability, results, folder / "figures")
    title = f"{mmkg.info.get('name', 'graph')}: evaluation on the test split"
    content = [*blocks(results, answers, drawn, bundle), *looked]
    write_text(folder / "report.md", markdown(title, content, folder))
    write_text(folder / "report.html", html(title, content))
    write_json(folder / REPORT, {"title": title, "blocks": to_json(content, folder)})


def tracked_metrics(results: dict[str, Any]) -> dict[str, float]:
    """Metrics under names common to all runs, so that MLflow can compare them: ``test/mrr``, ``test/head/mrr``, …

    Metrics of the OpenKE protocol are named ``openke/…``, so that they are not mixed with the others.
    """
    counted = results["protocol"]["ties"]
    prefix = overview.prefix_of(results)
    sides = results["metrics"][counted]
    named = {
        (f"{prefix}/{name}" if side == "both" else f"{prefix}/{side}/{name}"): value
        for side, metrics in sides.items()
        for name, value in metrics.items()
    }
    named |= {
        f"{prefix}/{bound}/mrr": results["metrics"][bound]["both"]["mrr"] for bound in ("optimistic", "pessimistic")
    }
    named |= {f"baseline/{name}": value for name, value in results["baseline"]["both"].items()}
    if results["without_self"]:
        named |= {f"{prefix}/without_self/{name}": value for name, value in results["without_self"]["both"].items()}
    if results["reliability"]:
        named["calibration/expected_error"] = results["reliability"]["expected_error"]
    if results["nearest"]:
        named["baseline/nearest_text/mrr"] = results["nearest"]["both"]["mrr"]
    named |= {f"{prefix}/{row['value']}/mrr": row["both"]["mrr"] for row in results["slices"]["category"]}
    classification = (results["classification"] or {}).get("standard", {})
    return named | {f"classification/{name}": value for name, value in classification.items()}


def _with_epoch(protocol: dict[str, str], bundle: Bundle) -> dict[str, str]:
    """The protocol with the evaluated epoch added; the OpenKE protocol uses the last epoch."""
    kept = bundle.config.get("keep", "best")
    if bundle.config.get("refit"):
        epochs = bundle.provenance.get("best_epoch") or bundle.provenance.get("epochs")
        said = f"trained again on train and development triples for {epochs} epochs, chosen on the development split"
        return protocol | {"epoch": "refit", "label": f"{protocol['label']}; {said}"}
    said = "the last epoch" if kept == "last" else "the epoch selected on the development split"
    if protocol["name"] == "openke" and kept != "last":
        said += " (the papers have the last one: train with keep: last)"
    return protocol | {"epoch": kept, "label": f"{protocol['label']}; {said}"}


def _dataset(mmkg: MMKG) -> dict[str, Any]:
    graph = mmkg.graph
    counts = {split: len(getattr(graph, split)) for split in ("train", "valid", "test")}
    sizes = {"entities": len(graph.entities), "relations": len(graph.relations)}
    return {"name": mmkg.info.get("name"), **sizes, **counts, "warnings": mmkg.info.get("warnings", [])}


def _check_vocabulary(graph: Graph, bundle: Bundle, graph_uri: str) -> None:
    for name in ("entities", "relations"):
        if getattr(graph, name).keys != getattr(bundle, name).keys:
            raise UserError(
                graph_uri, f"the model was trained on other {name}", "evaluate it on the graph it was made from"
            )


def _log_lineage(run: Run, mmkg: MMKG, graph_uri: str) -> None:
    name = str(mmkg.info.get("name", "graph"))
    run.log_dataset(name, Path(graph_uri).name, graph_uri, {"test": len(mmkg.graph.test)}, context="testing")


def _log_training_curves(run: Run, curves: dict[str, list[tuple[float, float]]], scratch: Path) -> None:
    """Draw the training curves from MLflow; they are artifacts of the run, not of the evaluation."""
    for metric, points in curves.items():
        name, values = CURVES[metric], [value for _, value in points]
        title = f"{name[0].upper()}{name[1:]}: from {values[0]:.3g} to {values[-1]:.3g}"
        figure = figures.curves({metric: points}, title, "epoch", name)
        run.log_artifact(figures.save(figure, scratch / f"training_{metric}.png"), "figures")
