"""Selection of the figures of an evaluation."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate import figures
from mmkgc.components.evaluate.diagnostics import embedding_points, mapped_entities, relation_shares
from mmkgc.components.evaluate.link_prediction import LinkPrediction
from mmkgc.components.evaluate.reliability import Reliability
from mmkgc.components.evaluate.report import Figure as ReportFigure
from mmkgc.components.evaluate.slices import by_relation, entity_masks, in_order
from mmkgc.components.kge.bundle import Bundle


def draw(
    bundle: Bundle,
    mmkg: MMKG,
    prediction: LinkPrediction,
    reliability: Reliability | None,
    results: dict[str, Any],
    folder: Path,
) -> list[ReportFigure]:
    """Draw all figures that apply to this model and graph into ``folder``."""
    drawn = [*_ranking(prediction, results), *_modalities(bundle, mmkg, results), *_calibration(reliability)]
    return [ReportFigure(figures.save(figure, folder / f"{name}.png"), caption) for name, figure, caption in drawn]


def _ranking(prediction: LinkPrediction, results: dict[str, Any]) -> Iterator[tuple[str, Figure, str]]:
    slices = results["slices"]
    yield "rank_histogram", figures.rank_histogram(prediction.queries), "Ranks of the answers"
    for kind in ("relation", "category", "answer degree", "answer modalities", "unseen"):
        if len(slices[kind]) > 1:
            name = f"mrr_by_{kind.replace(' ', '_')}"
            rows = in_order(kind, slices[kind])
            if kind == "relation":
                rows = [*by_relation(rows, results["without_self"])]
            yield name, figures.metric_bars(rows, kind), f"MRR by {kind}"


def _modalities(bundle: Bundle, mmkg: MMKG, results: dict[str, Any]) -> Iterator[tuple[str, Figure, str]]:
    masks = entity_masks(mmkg, bundle.model)
    if shares := relation_shares(bundle.model, mmkg.graph.test, mmkg.graph, masks):
        yield "modality_weights", figures.modality_weights(shares), "Weights of the modalities, relation by relation"
    if results["missing"]:
        (_, whole), *_, (share, rest) = results["missing"]
        title = f"MRR {whole:.2f} → {rest:.2f} when {share:.0%} of the entities lose image and text"
        x = "share of entities whose image and text are hidden after training"
        caption = "Development MRR when image and text of some entities are hidden from the trained model, which is "
        caption += "not trained again (AdaMF-MAT's Fig. 3 trains one model for each share)"
        yield "missing_modalities", figures.curves({"": results["missing"]}, title, x, "development MRR"), caption
    entities = mapped_entities(mmkg.graph)
    points = embedding_points(bundle.model, masks, entities)
    kinds = [mmkg.graph.types[entity] or "other" if mmkg.graph.types else "entity" for entity in entities.tolist()]
    yield "embeddings", figures.embedding_map(points, kinds), "Entities by modality (first two principal components)"


def _calibration(found: Reliability | None) -> Iterator[tuple[str, Figure, str]]:
    if found:
        figure = figures.calibration_curve(found.probabilities, found.right, found.summary["expected_error"])
        yield "calibration", figure, "Probabilities of the ten best unknown answers to each test query"
