"""Do the papers' samplers beat their baselines on `countries`? A paired bootstrap over the test triples.

    python tests/benchmarks/claims.py [seeds [WORD …]]    (WORD: only claims with one of these words, e.g. DHNS)

The rows ``strategies`` of ``countries.py``: 32 negatives, everything else as in the recipe `countries`. For each test
query the reciprocal rank is averaged over the seeds; 2,000 resamples of whole test triples give the interval of the
difference. A claim holds if its interval lies above zero, and fails if it lies below.
"""

import sys
from functools import partial

import numpy as np
from countries import RECIPE, TABLES, settings
from numpy.typing import NDArray
from recorded import recorded

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.extract.extract import extract
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.evaluation.bootstrap import interval, resampled_means
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, KnownTriples
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.reader import load_features

UNIFORM_IKRL = {
    "model": {"fusion": {"name": "ikrl", "modality": "textual"}},
    "negatives": {"name": "uniform", "count": 32},
}
SYSTEMS = TABLES["strategies"] | {"uniform, ikrl": UNIFORM_IKRL}
CLAIMS = (
    ("MANS-A > uniform (Zhang et al. 2023)", "mans-a, ikrl", "uniform, ikrl"),
    ("MANS-A > Bernoulli", "mans-a, ikrl", "bernoulli, ikrl"),
    ("MAT > AdaMF with Bernoulli negatives (Zhang et al. 2024)", "mat, adamf", "bernoulli, adamf"),
    ("DHNS > uniform (Niu & Zhang 2025)", "dhns, adamf", "uniform, adamf"),
    ("DHNS > Bernoulli", "dhns, adamf", "bernoulli, adamf"),
)
RESAMPLES = 2000


def main() -> None:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    storage = open_storage()
    graph_uri = ingest(RECIPE.dataset, RECIPE.ingest, storage).uri
    graph = MMKG.load(storage.fetch(graph_uri)).graph
    features = {
        m: load_features(extract(graph_uri, m, RECIPE.extract, storage).uri, graph.entities.keys, storage, 0.0, 0)
        for m in RECIPE.extract.modalities()
    }
    triples = np.tile(np.arange(len(graph.test)), 2)  # heads are ranked first, then tails
    print("| claim | MRR | of the baseline | difference, 95 % | seeds |\n|---|---|---|---|---|")
    for claim, system, baseline in chosen(sys.argv[2:]):
        ours, theirs = (reciprocal_ranks(SYSTEMS[name], seeds, graph, features) for name in (system, baseline))
        low, high = interval(resampled_means(ours - theirs, triples, RESAMPLES, 0))
        verdict = "holds" if low > 0 else "fails" if high < 0 else "undecided"
        print(
            f"| {claim} | {ours.mean():.3f} | {theirs.mean():.3f} | {ours.mean() - theirs.mean():+.3f} "
            f"[{low:+.3f}, {high:+.3f}]: {verdict} | {seeds} |",
            flush=True,
        )


def chosen(words: list[str]) -> list[tuple[str, str, str]]:
    """The claims that name one of the words; all without words."""
    return [claim for claim in CLAIMS if not words or any(word in claim[0] for word in words)]


def reciprocal_ranks(changes: dict, seeds: int, graph: Graph, features: dict[str, Features]) -> NDArray[np.float64]:
    """1 / rank of each test query, the mean over the seeds."""
    found = []
    for seed in range(seeds):
        chosen = settings(changes, seed)
        result = recorded("claims", chosen.model_dump(), partial(measured, chosen, graph, features))
        found.append(np.array(result["reciprocal"]))
    return np.mean(found, axis=0)


def measured(chosen: TrainConfig, graph: Graph, features: dict[str, Features]) -> dict:
    """Of one training, whose epoch is selected on the development split."""
    model = Trainer(graph, {m: each for m, each in features.items() if chosen.uses(m)}, chosen).fit()
    known = KnownTriples(graph.all_triples, len(graph.entities), len(graph.relations))
    return {"reciprocal": (1 / rank(model, graph.test, known).realistic.double()).tolist()}


if __name__ == "__main__":
    main()
