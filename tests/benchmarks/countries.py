"""What do text, flags, numbers and the negatives' strategy bring on `countries`? Prints Markdown tables over seeds.

    python tests/benchmarks/countries.py [seeds] [modalities|flags|numbers|strategies|scale|missing …]

Everything but the named part is the recipe `countries`. Each run selects its epoch on the development split; the test
split is ranked once, filtered, ties at their mean rank. Each result is kept as it comes (``recorded.py``): a stopped
script goes on where it was.

``scale``: features brought to mean norm 1, or as the encoders give them; the flags' vectors are 3.4 long, texts' 1.
``missing``: a share of the entities loses its text before training, as in AdaMF-MAT's Fig. 3; also drawn into
``docs/missing.svg``.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from recorded import recorded

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.evaluate import figures
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.evaluation.answers import best_answers
from mmkgc.components.kge.evaluation.baseline import RelationPopularity
from mmkgc.components.kge.evaluation.calibration import calibrate, expected_error, probability
from mmkgc.components.kge.evaluation.ranks import Scorer, mrr, rank
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features
from mmkgc.feature_store.storage import Storage
from mmkgc.pipeline import config

RECIPE = config.load("countries")
MODALITY = {"text": "textual", "flags": "visual", "numbers": "numeric"}
TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "modalities": {
        "structure only": {"model": {"fusion": "structure", "modalities": []}},
        **{
            f"structure + {' + '.join(rest)}": {"model": {"modalities": [MODALITY[name] for name in rest]}}
            for rest in (
                ("text",),
                ("flags",),
                ("numbers",),
                ("text", "flags"),
                ("text", "numbers"),
                ("text", "flags", "numbers"),
            )
        },
    },
    "numbers": {
        "the recipe": {},
        "without numbers": {"model": {"modalities": ["textual", "visual"]}},
        "numbers alone": {"model": {"modalities": ["numeric"]}},
    },
    "flags": {
        "the recipe": {},
        "without flags": {"model": {"modalities": ["textual", "numeric"]}},
        "without text": {"model": {"modalities": ["visual", "numeric"]}},
    },
    "strategies": {
        f"{name}, {fusion['name']}": {"model": {"fusion": fusion}, "negatives": {"name": name, "count": 32}}
        for fusion, names in (
            ({"name": "adamf"}, ("uniform", "bernoulli", "mans-v", "mans-t", "mans-h", "mat", "dhns")),
            ({"name": "ikrl", "modality": "textual"}, ("bernoulli", "mans-v", "mans-t", "mans-h", "mans-a")),
        )
        for name in names
    },
    "scale": {
        f"{name}, {fusion['name']}, {scale}": {
            "model": {"fusion": fusion, "feature_scale": scale},
            "negatives": {"name": name, "count": 32},
        }
        for name, fusion in (
            ("bernoulli", {"name": "adamf"}),
            ("bernoulli", {"name": "ikrl", "modality": "visual"}),
            ("mans-a", {"name": "ikrl", "modality": "visual"}),
        )
        for scale in ("unit", "raw")
    },
    "missing": {
        f"{name}, {share:.0%} without text": {
            "model": {"modalities": ["textual"]},
            "negatives": {"name": name, "count": 32},
            "drop_modality": {"textual": share},
        }
        for name in ("bernoulli", "mat")
        for share in (0.0, 0.2, 0.4, 0.6, 0.8)
    },
}
FIGURE = Path(__file__).parents[2] / "docs" / "missing.svg"


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    storage = open_storage()
    graph_uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
    graph = MMKG.load(storage.fetch(graph_uri)).graph
    uris = {m: extract(graph_uri, m, RECIPE.extract, storage).uri for m in RECIPE.extract.modalities()}
    for name in sys.argv[2:] or TABLES:
        means = print_table(name, TABLES[name], seeds, partial(results, graph, uris, storage))
        if name == "missing":
            draw_missing(means)
    dev, test = (filtered_mrr(RelationPopularity(graph), graph, split) for split in ("dev", "test"))
    print(f"| relation popularity | {dev:.3f} | {test:.3f} | |")


def print_table(
    title: str, rows: dict[str, dict[str, Any]], seeds: int, measure: Callable[[TrainConfig], dict[str, float]]
) -> dict[str, float]:
    """One row a configuration: mean ± standard deviation over the seeds. Returns the means of the test MRR."""
    means = {}
    print(f"\n| {title} | dev MRR | test MRR | calibration error | seeds |\n|---|---|---|---|---|", flush=True)
    for label, changes in rows.items():
        found = [measure(settings(changes, seed)) for seed in range(seeds)]
        dev, test, error = ([one[name] for one in found] for name in ("dev", "test", "calibration"))
        means[label] = statistics.mean(test)
        print(f"| {label} | {_spread(dev)} | {_spread(test)} | {_spread(error)} | {seeds} |", flush=True)
    return means


def draw_missing(means: dict[str, float]) -> None:
    """The test MRR of each strategy by the share of entities without text."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for (label, mean), row in zip(means.items(), TABLES["missing"].values(), strict=True):
        lines.setdefault(label.partition(",")[0], []).append((row["drop_modality"]["textual"], mean))
    title = "countries: text taken away before training"
    figures.curves(lines, title, "share of entities without text", "test MRR").savefig(FIGURE, metadata={"Date": None})
    print(f"drawn: {FIGURE}")


def settings(changes: dict[str, Any], seed: int) -> TrainConfig:
    """The recipe's training with ``changes``; it uses the recipe's modalities unless they say otherwise."""
    raw = RECIPE.train.model_dump() | {"seed": seed}
    model = raw["model"] | {"modalities": RECIPE.extract.modalities()} | changes.get("model", {})
    return TrainConfig.model_validate(raw | changes | {"model": model})


def results(graph: Graph, uris: dict[str, str], storage: Storage, chosen: TrainConfig) -> dict[str, float]:
    """Development and test MRR of a training, measured or from the record."""

    def measure() -> dict[str, float]:
        begun = time.monotonic()
        keys, drop = graph.entities.keys, {str(m): share for m, share in chosen.drop_modality.items()}
        used = {m: load_features(uris[m], keys, storage, drop.get(m, 0.0), chosen.seed) for m in uris if chosen.uses(m)}
        trainer = Trainer(graph, used, chosen)
        model = trainer.fit()
        found = {split: filtered_mrr(model, graph, split) for split in ("dev", "test")}
        found["calibration"] = calibration_error(model, graph)
        return found | {"epochs": trainer.selection.epoch, "seconds": time.monotonic() - begun}

    return recorded("countries", chosen.model_dump(), measure)


def filtered_mrr(model: Scorer, graph: Graph, split: str) -> float:
    """MRR of a split, both directions. The filter of the development split knows nothing of test."""
    triples, filtered = {"dev": (graph.valid, graph.selection_triples), "test": (graph.test, graph.all_triples)}[split]
    return mrr(rank(model, triples, KnownTriples(filtered, len(graph.entities), len(graph.relations))))


def calibration_error(model: Scorer, graph: Graph) -> float:
    """Expected calibration error of the ten best unknown answers to each test query."""
    sizes = len(graph.entities), len(graph.relations)
    fitted = calibrate(model, graph.train, graph.valid, *sizes, "platt")
    answers = best_answers(model, graph.test, KnownTriples(graph.selection_triples, *sizes))
    chances = probability(fitted, answers.scores, answers.slots, answers.margins)
    return expected_error(chances, answers.right)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
