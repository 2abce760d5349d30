"""What do text, flags and the negatives' strategy bring on `countries`? Prints two Markdown tables over several seeds.

    python tests/benchmarks/countries.py [seeds] [modalities|strategies …]

Everything but the named part is the recipe `countries`. Each run selects its epoch on the development split; the test
split is ranked once, filtered, ties at their mean rank. The flags' VGG-16 has random weights.
"""

import statistics
import sys
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

from components.evaluate.baseline import RelationPopularity
from components.extract.extract import extract
from components.ingest.ingest import ingest
from components.ingest.mmkg import MMKG
from components.kge.features import Features
from components.kge.graph import Graph, KnownTriples
from components.kge.ranking import Scorer, mrr, rank
from components.train.config import TrainConfig
from components.train.trainer import Trainer
from feature_store.local import LocalStorage
from feature_store.reader import load_features
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
        name: {"negatives": {"name": name, "count": 32}}
        for name in ("uniform", "bernoulli", "mans-v", "mans-t", "mans-h", "mans-a", "mat", "dhns")
    },
}


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with TemporaryDirectory() as scratch:
        storage = LocalStorage(scratch)
        graph_uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
        graph = MMKG.load(storage.fetch(graph_uri)).graph
        features = {
            m: load_features(extract(graph_uri, m, RECIPE.extract, storage).uri, graph.entities.keys, storage)
            for m in ("visual", "textual")
        }
        for name in sys.argv[2:] or TABLES:
            print_table(name, TABLES[name], seeds, lambda changes, seed: test_mrr(graph, features, changes, seed))
    print(f"\nrelation popularity: test MRR {filtered_mrr(RelationPopularity(graph), graph):.3f}")


def print_table(
    title: str,
    rows: dict[str, dict[str, Any]],
    seeds: int,
    measure: Callable[[dict[str, Any], int], tuple[float, float]],
) -> None:
    """One row a configuration: mean ± standard deviation over the seeds."""
    print(f"\n| {title} | dev MRR | test MRR | seeds |\n|---|---|---|---|", flush=True)
    for label, changes in rows.items():
        dev, test = zip(*(measure(changes, seed) for seed in range(seeds)), strict=True)
        print(f"| {label} | {_spread(dev)} | {_spread(test)} | {seeds} |", flush=True)


def test_mrr(graph: Graph, features: dict[str, Features], changes: dict[str, Any], seed: int) -> tuple[float, float]:
    """Development and test MRR of the recipe with ``changes``."""
    raw = RECIPE.train.model_dump() | {"seed": seed}
    raw |= changes | {"model": raw["model"] | changes.get("model", {})}
    settings = TrainConfig.model_validate(raw)
    used = {m: table for m, table in features.items() if settings.uses(m)}
    trainer = Trainer(graph, used, settings)
    model = trainer.fit()
    return trainer.selection.best_mrr, filtered_mrr(model, graph)


def filtered_mrr(model: Scorer, graph: Graph) -> float:
    """MRR of the test split, both directions."""
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    return mrr(rank(model, graph.test, known))


def _spread(values: tuple[float, ...]) -> str:
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"


if __name__ == "__main__":
    main()
