"""The model card of a registered version, after Mitchell et al. 2019: what it is, how good, for what, and its limits.

MLflow shows it as the version's description, which has at most 5,000 characters.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmkgc.components.evaluate.slices import by_relation
from mmkgc.components.evaluate.summary import metric, title
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.files import read_json
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import markdown as plain

CARD = "model_card.md"
LONGEST = 5000
SLICES = ("answer modalities", "answer degree", "relation")
SLICE_ROWS, LEAST_QUERIES = 6, 20
SHOWN = ("mrr", "hits_at_1", "hits_at_10")
FEW_QUERIES = 200
"""With fewer test queries the card warns: an interval of the MRR is then about 0.1 wide or more."""


def graph_card(graph: Path) -> dict[str, Any]:
    """Name, source and licence of the data, from the folder of a published graph."""
    info = read_json(graph / "graph.json") if (graph / "graph.json").is_file() else {}
    return {key: info.get(key) for key in ("name", "source", "licence", "leakage")}


def card(metrics: Mapping[str, Any], bundle: Bundle, data: Mapping[str, Any]) -> str:
    """The card as Markdown. ``metrics``: the content of ``metrics.json``; ``data``: the ``graph_card``."""
    text = "\n\n".join([*_figures(metrics), *_data(metrics, data), *_use(metrics, bundle), *_slices(metrics)])
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _figures(metrics: Mapping[str, Any]) -> Iterator[str]:
    ties = metrics["protocol"]["ties"]
    both, baseline = metrics["metrics"][ties]["both"], metrics["baseline"]["both"]
    yield (
        f"Test MRR {both['mrr']:.4f}, relation popularity {baseline['mrr']:.4f} "
        f"({plain(str(metrics['dataset']['name']))}; {metrics['protocol']['label']})"
    )
    if bounds := metrics.get("intervals", {}).get("mrr"):
        low, high = bounds
        interval = f"{metrics['confidence']:.0%} interval of the MRR: [{low:.4f}, {high:.4f}]"
        yield f"{interval}, {counted(metrics['queries'], 'query')}."


def _data(metrics: Mapping[str, Any], data: Mapping[str, Any]) -> Iterator[str]:
    counts = metrics["dataset"]
    if "entities" not in counts:
        return
    told = [f"{key}: {plain(str(data[key]))}" for key in ("source", "licence") if data.get(key)]
    yield "**Data**"
    yield (
        f"{plain(str(counts['name']))}: {counted(counts['entities'], 'entity')}, "
        f"{counted(counts['relations'], 'relation')}; {counts['train']:,} training, {counts['valid']:,} "
        f"development and {counted(counts['test'], 'test triple')}. " + "; ".join(told)
    ).strip()


def _use(metrics: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    config, modalities = bundle.model.config, bundle.model.entities.modalities
    yield "**Model**"
    yield (
        f"Interaction {config.interaction['name']}, fusion {config.fusion['name']}, {config.dimension} dimensions, "
        f"modalities {', '.join(modalities)}; seed {bundle.config.get('seed')}."
    )
    if start := bundle.provenance.get("start"):
        yield (
            f"Its training began with {plain(start['model'])}: "
            f"{counted(start['entities'], 'entity kept its vector', 'entities kept their vectors')}; "
            f"new: {start['new_entities']:,}, gone: {start['removed_entities']:,}."
        )
    yield "**Intended use**"
    yield (
        "Ranking the missing part of a triple of this graph, and proposing triples for review by a person. A high rank "
        "is no statement that a fact is true."
    )
    yield "**Limits**"
    yield "\n".join(f"- {limit}" for limit in _limits(metrics, bundle))


def _limits(metrics: Mapping[str, Any], bundle: Bundle) -> Iterator[str]:
    if metrics.get("queries", FEW_QUERIES) < FEW_QUERIES:
        yield f"The test split is small ({counted(metrics['queries'], 'query')})."
    yield "It answers about the entities and relations of this graph; other relations need a new training."
    if bundle.model.config.structure_dropout:
        yield "New entities are answered from their described content alone."
    else:
        yield "Answers about new entities were not trained for (structure_dropout is 0)."
    random = [m for m, spec in bundle.encoders.items() if spec.get("weights") == "random"]
    if random:
        yield f"The {' and '.join(random)} features come from an encoder with random weights."
    if found := metrics.get("reliability"):
        yield (
            f"Probabilities hold for queries with a held-out answer (expected calibration error "
            f"{found['expected_error']:.3f}); where the graph holds every answer they are too high."
        )
    else:
        yield "Scores are not calibrated: no probabilities."
    for warning in metrics["dataset"].get("warnings", [])[:3]:
        yield plain(str(warning)[:300])


def _slices(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The slices with the lowest MRR of those with enough queries; below a symmetric relation, the one that counts its
    queries without their own entity.
    """
    rows = [
        (kind, row)
        for kind in SLICES
        for row in metrics.get("slices", {}).get(kind, ())
        if row["queries"] >= LEAST_QUERIES and len(metrics["slices"][kind]) > 1
    ]
    if not rows:
        return
    rows.sort(key=lambda pair: pair[1]["both"]["mrr"])
    names = [name for name in SHOWN if name in rows[0][1]["both"]]
    header = ["weakest slices", "queries", *map(title, names)]
    cells = [
        [f"{kind}: {plain(shown['value'])}", str(shown["queries"]), *(metric(n, shown["both"][n]) for n in names)]
        for kind, row in rows[:SLICE_ROWS]
        for shown in (by_relation([row], metrics.get("without_self")) if kind == "relation" else [row])
    ]
    yield "**Slices**"
    yield "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] * len(header), *cells])
