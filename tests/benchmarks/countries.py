"""What do text, flags and the negatives' strategy bring on `countries`? Prints two Markdown tables over several seeds.

    python tests/benchmarks/countries.py [seeds] [modalities|strategies …]

Everything but the named part is the recipe `countries`. Each run selects its epoch on the development split; the test
split is ranked once, filtered, ties at their mean rank. The flags' VGG-16 has random weights. Each result is kept as it
comes (``recorded.py``): a stopped script goes on where it was.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from recorded import recorded

from components.evaluate.baseline import RelationPopularity
from components.extract.extract import extract
from components.ingest.ingest import ingest
from components.ingest.mmkg import MMKG
from components.kge.features import Features
from components.kge.graph import Graph, KnownTriples
from components.kge.ranking import Scorer, mrr, rank
from components.train.config import TrainConfig
from components.train.trainer import Trainer
from feature_store.reader import load_features
from feature_store.storage import open_storage
from pipeline import config

RECIPE = config.load("countries")
TABLES: dict[str, dict[str, dict[str, Any]]] = {
    "modalities": {
        "structure only": {"model": {"fusion": "structure", "modalities": []}, "negatives": "bernoulli"},
        "structure + text": {"model": {"modalities": ["textual"]}, "negatives": "bernoulli"},
        "structure + flags": {"model": {"modalities": ["visual"]}, "negatives": "bernoulli"},
        "structure + text + flags": {"negatives": "bernoulli"},
        "the recipe": {},
    },
    "strategies": {
        f"{name}, {fusion['name']}": {"model": {"fusion": fusion}, "negatives": {"name": name, "count": 32}}
        for fusion, names in (
            ({"name": "adamf"}, ("uniform", "bernoulli", "mans-v", "mans-t", "mans-h", "mat", "dhns")),
            ({"name": "ikrl", "modality": "textual"}, ("bernoulli", "mans-v", "mans-t", "mans-h", "mans-a")),
        )
        for name in names
    },
}


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    storage = open_storage()
    graph_uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
    graph = MMKG.load(storage.fetch(graph_uri)).graph
    features = {
        m: load_features(extract(graph_uri, m, RECIPE.extract, storage).uri, graph.entities.keys, storage)
        for m in ("visual", "textual")
    }
    for name in sys.argv[2:] or TABLES:
        print_table(name, TABLES[name], seeds, partial(results, graph, features))
    dev, test = (filtered_mrr(RelationPopularity(graph), graph, split) for split in ("dev", "test"))
    print(f"| relation popularity | {dev:.3f} | {test:.3f} | |")


def print_table(
    title: str, rows: dict[str, dict[str, Any]], seeds: int, measure: Callable[[TrainConfig], dict[str, float]]
) -> None:
    """One row a configuration: mean ± standard deviation over the seeds."""
    print(f"\n| {title} | dev MRR | test MRR | seeds |\n|---|---|---|---|", flush=True)
    for label, changes in rows.items():
        found = [measure(settings(changes, seed)) for seed in range(seeds)]
        dev, test = ([one[split] for one in found] for split in ("dev", "test"))
        print(f"| {label} | {_spread(dev)} | {_spread(test)} | {seeds} |", flush=True)


def settings(changes: dict[str, Any], seed: int) -> TrainConfig:
    """The recipe's training with ``changes``."""
    raw = RECIPE.train.model_dump() | {"seed": seed}
    return TrainConfig.model_validate(raw | changes | {"model": raw["model"] | changes.get("model", {})})


def results(graph: Graph, features: dict[str, Features], chosen: TrainConfig) -> dict[str, float]:
    """Development and test MRR of a training, measured or from the record."""

    def measure() -> dict[str, float]:
        begun = time.monotonic()
        used = {m: table for m, table in features.items() if chosen.uses(m)}
        trainer = Trainer(graph, used, chosen)
        model = trainer.fit()
        found = {split: filtered_mrr(model, graph, split) for split in ("dev", "test")}
        return found | {"epochs": trainer.selection.epoch, "seconds": time.monotonic() - begun}

    return recorded("countries", chosen.model_dump(), measure)


def filtered_mrr(model: Scorer, graph: Graph, split: str) -> float:
    """MRR of a split, both directions. The filter of the development split knows nothing of test."""
    triples, filtered = {"dev": (graph.valid, graph.selection_triples), "test": (graph.test, graph.all_triples)}[split]
    return mrr(rank(model, triples, KnownTriples(filtered, len(graph.entities), len(graph.relations))))


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
