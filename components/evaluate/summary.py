"""The report: the results in ``metrics.json`` as sentences and tables."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmkgc.components.evaluate.report import Block, Figure, Heading, Paragraph, Table
from mmkgc.components.evaluate.slices import by_relation, in_order
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.runtime.nouns import counted

SLICE_ROWS = 12


def blocks(
    results: dict[str, Any], answers: Sequence[dict[str, Any]], figures: Sequence[Figure], bundle: Bundle
) -> list[Block]:
    """The blocks of the report, the most important first."""
    return [
        *_head(results, bundle),
        *_setup(bundle),
        *_link_prediction(results),
        *_without_self(results),
        *_answers(answers),
        *_reliability(results["reliability"]),
        *_slices(results),
        *_classification(results),
        Heading("Figures"),
        *figures,
    ]


def _head(results: dict[str, Any], bundle: Bundle) -> Iterator[Block]:
    data = results["dataset"]
    yield Paragraph(
        f"{counted(data['entities'], 'entity')}, {counted(data['relations'], 'relation')}; {data['train']:,} training, "
        f"{data['valid']:,} development and {counted(data['test'], 'test triple')}. "
        f"Protocol: {results['protocol']['label']}."
    )
    for warning in data["warnings"]:
        yield Paragraph(f"Warning: {warning}")
    random = [name for name, spec in bundle.encoders.items() if spec.get("weights") == "random"]
    if random:
        yield Paragraph(f"The {' and '.join(random)} features come from an encoder with random weights.")


def _setup(bundle: Bundle) -> Iterator[Block]:
    """How the model was made: its parts and the settings of its training."""
    config, made = bundle.config, bundle.provenance
    model, negatives = bundle.model.config, config.get("negatives")
    epochs = f"{made['epochs']}" if "epochs" in made else None
    rows = {
        "interaction": _part(model.interaction),
        "fusion": _part(model.fusion),
        "entity encoder": _part(model.encoder),
        "dimension": str(model.dimension),
        "negatives": _part(negatives) if negatives else None,
        "loss": _part(config["loss"]) if config.get("loss") else None,
        "epochs trained": epochs,
        "epoch kept": str(made["best_epoch"]) if "best_epoch" in made else None,
        "development MRR": metric("mrr", made["dev_mrr"]) if made.get("dev_mrr") is not None else None,
        "seed": str(config["seed"]) if "seed" in config else None,
        **{f"{m} features": f"{spec['encoder']} ({spec['weights']})" for m, spec in bundle.encoders.items()},
    }
    yield Heading("Model and training")
    yield Table(["setting", "value"], [[name, value] for name, value in rows.items() if value])


def _part(part: Mapping[str, Any]) -> str:
    """A part of a recipe: its class and hyper-parameters."""
    options = ", ".join(f"{key} {value}" for key, value in part.items() if key != "name" and value is not None)
    return f"{part['name']} ({options})" if options else str(part["name"])


def _without_self(results: dict[str, Any]) -> Iterator[Block]:
    found = results["without_self"]
    if not found:
        return
    yield Heading("Without the query's own entity")
    yield Paragraph(
        "A model of a symmetric relation ranks the query's own entity first, and serving leaves it out unless the "
        "graph has loops of the relation. The protocol counts it as a candidate; these rows do not."
    )
    names = [name for name in found["both"] if name == "mrr" or name.startswith("hits")]
    usual = {row["value"]: row["both"] for row in results["slices"]["relation"]}
    rows = [
        ("all relations", results["queries"], found["both"], results["metrics"][results["protocol"]["ties"]]["both"])
    ]
    rows += [(row["value"], row["queries"], row["both"], usual[row["value"]]) for row in found["relations"]]
    shown = [
        [what, str(count), *(f"{metric(name, own[name])} ({metric(name, before[name])})" for name in names)]
        for what, count, own, before in rows
    ]
    yield Table(["relation (in brackets: with it)", "queries", *map(title, names)], shown)


def _link_prediction(results: dict[str, Any]) -> Iterator[Block]:
    ties = results["protocol"]["ties"]
    sides, bounds = results["metrics"][ties], results["intervals"]
    names = list(sides["both"])
    yield Heading("Link prediction")
    rows = [[f"model, {side}", *(metric(name, values[name]) for name in names)] for side, values in sides.items()]
    interval = [f"{metric(n, bounds[n][0])}–{metric(n, bounds[n][1])}" if n in bounds else "" for n in names]
    rows.insert(1, [f"{results['confidence']:.0%} interval", *interval])
    baselines = filter(None, (results["baseline"], results["nearest"]))
    rows += [[one["name"], *(metric(name, one["both"][name]) for name in names)] for one in baselines]
    yield Table(["", *map(title, names)], rows)
    other = {how: results["metrics"][how]["both"]["mrr"] for how in ("optimistic", "pessimistic")}
    yield Paragraph(
        f"{counted(results['queries'], 'query')}. Ties: optimistic MRR {metric('mrr', other['optimistic'])}, "
        f"pessimistic {metric('mrr', other['pessimistic'])}; best and worst rank differ by {results['tie_gap']:.2f} on "
        "average. "
        "Intervals resample test triples."
    )


def _reliability(found: dict[str, Any] | None) -> Iterator[Block]:
    if found:
        first = found["first"]
        yield Heading("Probabilities")
        yield Paragraph(
            f"{first['right']:.0%} of the {first['answers']} answers that stand first are right, at a mean probability "
            f"of {first['probability']:.0%}. Expected calibration error of the ten best answers of each query: "
            f"{found['expected_error']:.3f}; of the first alone: {first['expected_error']:.3f}. "
            "Right is what was held out."
        )


def _answers(answers: Sequence[dict[str, Any]]) -> Iterator[Block]:
    if answers:
        yield Heading("Test queries")
    for answer in answers:
        left_out = f"; known answers that are left out: {answer['known']}" if answer["known"] else ""
        yield Paragraph(f"{answer['query']} → {answer['gold']}, at rank {answer['rank']:g}{left_out}.")
        rows = [
            [row["label"], chance(row["probability"]), f"{row['score']:.3f}", "← answer" if row["gold"] else ""]
            for row in answer["answers"]
        ]
        yield Table(["completion", "probability", "score", ""], rows)


def _slices(results: dict[str, Any]) -> Iterator[Block]:
    for kind, rows in results["slices"].items():
        if len(rows) < 2:
            continue
        rows = in_order(kind, rows)
        if kind == "relation":
            rows = [*by_relation(rows, results["without_self"])]
        names = [name for name in rows[0]["both"] if name not in ("amr", "amri")]
        shown = [[row["value"], str(row["queries"]), *(metric(n, row["both"][n]) for n in names)] for row in rows]
        yield Heading("By unseen entities" if kind == "unseen" else f"By {kind}")
        yield Table([kind, "queries", *map(title, names)], shown[:SLICE_ROWS])
        if len(rows) > SLICE_ROWS:
            yield Paragraph(f"The {SLICE_ROWS} with most queries of {len(rows)}; all are in metrics.json.")


def _classification(results: dict[str, Any]) -> Iterator[Block]:
    if not results["classification"]:
        return
    labels = {
        "standard": "thresholds by relation, chosen on the development split",
        "mans": "MANS protocol: one threshold, chosen on the test scores themselves (optimistic)",
    }
    yield Heading("Triple classification")
    names = list(results["classification"]["standard"])
    rows = [
        [labels[name], *(f"{value:.3f}" for value in row.values())] for name, row in results["classification"].items()
    ]
    yield Table(["protocol", *map(str.capitalize, names)], rows)


def metric(name: str, value: float) -> str:
    """A metric as text: mean ranks with one decimal, other metrics with three."""
    return f"{value:.1f}" if name == "mr" else f"{value:.3f}"


def chance(probability: float | None) -> str:
    """A probability as text; a dash without one."""
    return "–" if probability is None else f"{probability:.1%}"


def title(name: str) -> str:
    """Name of a metric in a table."""
    return f"Hits@{name.removeprefix('hits_at_')}" if name.startswith("hits_at_") else name.upper()
