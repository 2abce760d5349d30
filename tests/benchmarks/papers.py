"""The papers' recipes on one of their datasets. Prints a Markdown table, one row a system, as they end.

    python tests/benchmarks/papers.py FOLDER/MKG-Y [--epochs N|full] [--seed S] [--set KEY=VALUE …] [SYSTEM …]

Each system's recipe (`mmkgc list recipes`) is trained and evaluated by the library's own steps. The epoch is selected
on the development split; test is ranked once, filtered, ties at their mean rank. Beside that stand the same ranks with
ties counted for the model, as the papers' code does, and what the papers print: the last epoch of all, with features of
images and texts that we do not have. With ``--epochs full`` (a GPU is wanted) the recipes stay as they are; otherwise
they end after N epochs, and the development split is ranked ten times. Results are kept as they come (``recorded.py``).
"""

import argparse
import time
from functools import partial
from pathlib import Path

from recorded import recorded

from mmkgc.components.evaluate.evaluate import evaluate
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.runtime.files import read_json
from mmkgc.components.train.train import train
from mmkgc.feature_store.storage import open_storage
from mmkgc.pipeline import composition, config

PRINTED = {  # MRR of the papers' own tables, %; DHNS: the best of its interactions
    "adamf": {"DB15K": 32.51},
    "adamf-mat": {"DB15K": 35.14, "MKG-W": 35.85, "MKG-Y": 38.57},
    "dhns": {"DB15K": 34.36, "MKG-W": 35.68, "MKG-Y": 39.11},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("systems", nargs="*", default=composition.stems(composition.SYSTEMS), metavar="SYSTEM")
    parser.add_argument("--epochs", default="20")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    asked = parser.parse_intermixed_args()
    changes = [f"dataset={asked.data.resolve()}", f"train.seed={asked.seed}", *reduced(asked.epochs), *asked.settings]
    print(f"{asked.data.name}, seed {asked.seed}, epochs: {asked.epochs}, {' '.join(asked.settings)}\n")
    print("| system | dev MRR | test MRR | H@1 | H@10 | test MRR, ties for the model | printed | best epoch | min |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    for system in asked.systems:
        recipe = config.load(f"{asked.data.name.lower()}-{system}", changes)
        print_row(system, asked.data.name, recorded("papers", recipe.model_dump(mode="json"), partial(run, recipe)))


def reduced(epochs: str) -> list[str]:
    """What shortens a recipe: at most ``epochs``, and a measurement of the development MRR every tenth of them."""
    if epochs == "full":
        return []
    return [f"train.epochs={epochs}", f"train.evaluate_every={max(1, int(epochs) // 10)}"]


def run(recipe: config.Recipe) -> dict[str, float]:
    """Train and evaluate."""
    storage, begun = open_storage(), time.monotonic()
    graph = ingest(recipe.dataset, recipe.ingest, storage).uri
    features = {m: extract(graph, m, recipe.extract, storage).uri for m in recipe.extract.modalities()}
    bundle = train(graph, features, recipe.train, storage).uri
    minutes = (time.monotonic() - begun) / 60
    evaluation = storage.fetch(evaluate(graph, bundle, recipe.evaluate, storage).uri)
    metrics = read_json(evaluation / "metrics.json")["metrics"]
    found = {f"{ties}_{name}": value for ties in metrics for name, value in metrics[ties]["both"].items()}
    provenance = read_json(storage.fetch(bundle) / "bundle.json")["provenance"]
    return found | {name: provenance[name] for name in ("dev_mrr", "best_epoch", "epochs")} | {"minutes": minutes}


def print_row(system: str, dataset: str, found: dict[str, float]) -> None:
    """One system: percent, and what it took."""
    values = [found["dev_mrr"], *(found[f"realistic_{name}"] for name in ("mrr", "hits_at_1", "hits_at_10"))]
    shown = [f"{100 * value:.2f}" for value in [*values, found["optimistic_mrr"]]]
    printed = PRINTED.get(system, PRINTED.get(system.partition("-")[0], {})).get(dataset, "–")
    epochs = f"{found['best_epoch']:.0f} of {found['epochs']:.0f}"
    print(f"| {system} | {' | '.join(shown)} | {printed} | {epochs} | {found['minutes']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
