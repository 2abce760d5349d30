"""Daily growth: a warm start on a graph with 1 % more entities, beside a full training. Prints a Markdown table.

    python tests/benchmarks/growth.py RECIPE [--seeds N] [--share S] [--epochs E] [--set KEY=VALUE] [--warm KEY=VALUE] …

For each seed, a share of the entities, drawn at random, is taken out with all their triples. A model of the rest is
trained by the recipe; it is the served one. Then all entities are there, and the recipe is trained from zero, and from
the served model for E epochs with the values of ``--warm``. Development MRR over all triples of the whole graph, and
over those with a new entity; before the first epoch, new entities have what their features tell. Seconds are processor
time of a training with its measurements of the development MRR, without the extraction of features.
"""

import argparse
import statistics
import time
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from recorded import recorded
from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import make_features
from mmkgc.components.ingest.ingest import build
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.ranks import mrr, rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples, Vocabulary
from mmkgc.components.kge.model import Model
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.optimizers import squares_of
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features
from mmkgc.pipeline import config

HEADER = (
    "| seed | new entities | new triples | full: dev MRR | s | warm: dev MRR | s | share | difference, points "
    "| before the first epoch | new entities: full | warm | before |"
)


class Trained(NamedTuple):
    """A training: its model, its seconds and its epochs."""

    trainer: Trainer
    model: Model
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--warm", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    recipe = config.load(asked.recipe, asked.settings)
    print(HEADER + "\n" + "|---" * HEADER.count(" |") + "|", flush=True)
    found = []
    for seed in range(asked.seeds):
        warm = [f"train.epochs={asked.epochs}", f"train.evaluate_every={asked.epochs}", *asked.warm]
        name = {"recipe": recipe.model_dump(mode="json"), "warm": warm, "seed": seed, "share": asked.share}
        changed = config.load(asked.recipe, [*asked.settings, *warm])
        row = recorded("growth", name, lambda r=recipe, c=changed, s=seed: measure(r, c.train, s, asked.share))
        print_row(str(seed), row)
        found.append(row)
    if len(found) > 1:
        print_row("mean", {key: statistics.mean(row[key] for row in found) for key in found[0]})
        gaps = [100 * (row["warm"] - row["full"]) for row in found]
        print(f"\ndifference {statistics.mean(gaps):+.2f} ± {statistics.stdev(gaps):.2f} points")


def print_row(title: str, row: dict[str, float]) -> None:
    """One line of the table."""
    seconds = [row["full_seconds"], row["warm_seconds"]]
    cells = [title, *(f"{row[name]:.0f}" for name in ("entities", "triples"))]
    cells += [f"{row['full']:.4f}", f"{seconds[0]:.1f}", f"{row['warm']:.4f}", f"{seconds[1]:.1f}"]
    cells += [f"{seconds[1] / seconds[0]:.1%}", f"{100 * (row['warm'] - row['full']):+.2f}"]
    cells += [f"{row[name]:.4f}" for name in ("served", "full_new", "warm_new", "served_new")]
    print(f"| {' | '.join(cells)} |", flush=True)


def measure(recipe: config.Recipe, warm: TrainConfig, seed: int, share: float) -> dict[str, float]:
    """All trainings of one seed."""
    storage = open_storage()
    mmkg = build(recipe.dataset, recipe.ingest, storage)
    graph = mmkg.graph
    kept = torch.rand(len(graph.entities), generator=torch.Generator().manual_seed(seed)) >= share
    earlier = without(mmkg, kept)
    before, after = (features_of(each, recipe, storage) for each in (earlier, mmkg))
    settings = recipe.train.model_copy(update={"seed": seed})
    served = fit(earlier.graph, before, settings)
    start = Bundle.of(served.model, earlier.graph, squares=squares_of(served.trainer.optimizer, served.model))
    full = fit(graph, after, settings)
    grown = fit(graph, after, warm.model_copy(update={"seed": seed}), start)
    begun = Trainer(graph, after, warm, start=start).model
    fresh = ~kept[graph.valid[:, [0, 2]]].all(1)
    new = graph.valid[fresh]
    assert full.model.n_relations == len(graph.relations)
    return {
        "entities": int((~kept).sum()),
        "triples": len(graph.train) - len(earlier.graph.train),
        "full": dev_mrr(full.model, graph, graph.valid),
        "warm": dev_mrr(grown.model, graph, graph.valid),
        "served": dev_mrr(begun, graph, graph.valid),
        "full_new": dev_mrr(full.model, graph, new),
        "warm_new": dev_mrr(grown.model, graph, new),
        "served_new": dev_mrr(begun, graph, new),
        "full_seconds": full.seconds,
        "warm_seconds": grown.seconds,
        "full_epochs": full.trainer.selection.epoch,
        "warm_best": grown.trainer.selection.best_epoch,
    }


def fit(graph: Graph, features: dict[str, Features], settings: TrainConfig, start: Bundle | None = None) -> Trained:
    """Train, and take the processor time."""
    begun = time.process_time()
    trainer = Trainer(graph, features, settings, start=start)
    model = trainer.fit()
    return Trained(trainer, model, time.process_time() - begun)


def features_of(mmkg: MMKG, recipe: config.Recipe, storage: Any) -> dict[str, Features]:
    """Features of the entities of a graph, by the recipe's encoders."""
    uris = {m: make_features(mmkg, m, recipe.extract, storage).uri for m in recipe.extract.modalities()}
    return {m: load_features(uri, mmkg.graph.entities.keys, storage) for m, uri in uris.items()}


def without(mmkg: MMKG, kept: Tensor) -> MMKG:
    """The graph of the entities ``kept`` ``[N]``."""
    graph, place = mmkg.graph, kept.cumsum(0) - 1
    rows = kept.nonzero().squeeze(1).tolist()

    def rest(triples: Tensor) -> Tensor:
        mine = triples[kept[triples[:, [0, 2]]].all(1)]
        return torch.stack([place[mine[:, 0]], mine[:, 1], place[mine[:, 2]]], dim=1)

    entities = Vocabulary(
        *(tuple(column[row] for row in rows) for column in (graph.entities.keys, graph.entities.names))
    )
    splits: dict[str, Any] = {name: rest(getattr(graph, name)) for name in ("train", "valid", "test", "known", "false")}
    types = graph.types and tuple(graph.types[row] for row in rows)
    contents = {m: tuple(content[row] for row in rows) for m, content in mmkg.contents.items()}
    return replace(
        mmkg, graph=replace(graph, entities=entities, types=types, confidence=None, **splits), contents=contents
    )


def dev_mrr(model: Model, graph: Graph, triples: Tensor) -> float:
    """Filtered MRR of development triples, both directions."""
    known = KnownTriples(graph.selection_triples, len(graph.entities), len(graph.relations))
    return mrr(rank(model.freeze(), triples, known))


if __name__ == "__main__":
    main()
