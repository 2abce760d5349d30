"""Test triples with an entity that train never shows: MRR of a benchmark recipe beside two baselines.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.inductive RECIPE path/to/DATASET [SEED …]

The models are those of `mmkgc bench RECIPE --dataset path/to/DATASET`, in the same home; they are trained if they are
not there. Queries are of three kinds: both entities are in train; the given one is not; the answer is not. Ranks are
filtered, among all entities, ties at their mean rank.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev

import torch
from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.baseline import NearestContent, RelationPopularity
from mmkgc.components.kge.evaluation.ranks import Scorer, rank
from mmkgc.components.kge.graph import HEAD, TAIL, Graph, KnownTriples
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.train.features import training_features
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import bench, cells, config

KINDS = ("both in train", "the given one unseen", "the answer unseen", "all")


def main() -> None:
    name, folder, *seeds = sys.argv[1:]
    recipes = [config.load(name, [f"dataset={folder}", f"train.seed={seed}"]) for seed in seeds or ("0", "1", "2")]
    storage = open_storage()
    inputs = cells.prepare(recipes[0], storage)
    graph = MMKG.load(storage.fetch(inputs.graph)).graph
    features = training_features(inputs.features, graph.entities.keys, recipes[0].train, storage)
    rows = list(bench.bench(recipes, Settings.from_env().home / "benchmarks" / f"{name}.jsonl"))
    bundles = (Bundle.load(storage.fetch(storage.uri(f"bundles/{row['bundle']}"))) for row in rows)
    print(f"{Path(folder).name}, {len(graph.test):,} test triples\n")
    print(f"| MRR, % | {' | '.join(KINDS)} |\n|---|---|---|---|---|")
    print(line("queries", [[len(of) for of in _kinds(graph)]], 0))
    print(line(f"{name}, {len(rows)} seeds", [list(by_kind(bundle.model, graph)) for bundle in bundles]), flush=True)
    print(line("nearest text", [list(by_kind(NearestContent(graph, features["textual"]), graph))]))
    print(line("relation popularity", [list(by_kind(RelationPopularity(graph), graph))]))


def by_kind(model: Scorer, graph: Graph) -> Iterator[float]:
    """MRR of each kind of query, in percent."""
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    reciprocal = rank(model, graph.test, known).realistic.reciprocal()  # of heads, then of tails
    yield from (100 * reciprocal[of].mean().item() for of in _kinds(graph))


def _kinds(graph: Graph) -> Iterator[Tensor]:
    """Numbers of the queries of each kind: heads are asked for first, then tails."""
    seen = torch.zeros(len(graph.entities), dtype=torch.bool)
    seen[graph.train[:, [HEAD, TAIL]].flatten()] = True
    head, tail = seen[graph.test[:, HEAD]], seen[graph.test[:, TAIL]]
    given, answer = torch.cat([tail, head]), torch.cat([head, tail])
    for mask in (given & answer, ~given, ~answer, torch.ones_like(given)):
        yield mask.nonzero().squeeze(1)


def line(label: str, values: list[list[float]], digits: int = 2) -> str:
    """A row of the table: the mean over seeds, and the deviation of several."""
    of_kinds = list(zip(*values, strict=True))
    spreads = [f" ± {stdev(some):.{digits}f}" if len(some) > 1 else "" for some in of_kinds]
    cells = [f"{mean(some):,.{digits}f}{spread}" for some, spread in zip(of_kinds, spreads, strict=True)]
    return f"| {label} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
