"""Candidates from an index against comparing with all: 1,000,000 entities, ComplEx d = 128 (256 reals).

    python tests/benchmarks/index.py [entities] [queries]

Two sets of vectors, the same engine, the same threads. *Trained*: ComplEx is trained on `countries` here, and each of
its entities stands as often as needed, every coordinate moved by Gaussian noise of a tenth of the vectors' standard
deviation. *Gaussian*: isotropic noise, which has no structure that any index could use. The index is the package
step's: cells, and codes of all entities; the exact scan is the engine's own. Prints recall@10 against the scan and
queries per second by setting, one query at a time and 64 at once, and draws ``docs/index.svg``.
"""

import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.ingest import ingest
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import config
from mmkgc.serving.engine.build_index import cells, codes, make
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.index import Index, searchable

FIGURE = Path(__file__).parents[2] / "docs" / "index.svg"
MODEL = {"dimension": 128, "interaction": "complex", "fusion": "structure"}
TRAINING = {
    "model": MODEL,
    "loss": "cross-entropy",
    "regularizer": {"name": "n3", "weight": 0.01},
    "optimizer": {"name": "adagrad", "lr": 0.1},
    "batch_size": 256,
    "epochs": 30,
}
NOISE, TRIPLES, TOP, TOGETHER = 0.1, 500_000, 10, 64
MOST = 5  # settings of codes


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    queries = int(sys.argv[2]) if len(sys.argv) > 2 else 256
    curves = {}
    for name, make_bundle in (("trained, tiled with noise", trained), ("isotropic Gaussian", gaussian)):
        for kind, points in measure(name, make_bundle(n), queries).items():
            curves[f"{name}: {kind}"] = points
    draw(curves)


def trained(n: int) -> Bundle:
    """``n`` noisy copies of the entities of a model trained on `countries`; triples between copies of true ones."""
    recipe, storage = config.load("countries"), open_storage()
    graph = MMKG.load(storage.fetch(ingest(recipe.dataset, recipe.ingest, storage).uri)).graph
    begun = time.monotonic()
    base = Trainer(graph, {}, TrainConfig.model_validate(TRAINING)).fit()
    print(f"trained on countries, {len(graph.entities)} entities: {time.monotonic() - begun:.0f} s", flush=True)
    copies = torch.arange(n) % len(graph.entities)
    table = base.entities.structure.detach()
    vectors = table[copies] + NOISE * table.std() * torch.randn(n, table.shape[1])
    lifted = graph.train[torch.randint(len(graph.train), (TRIPLES,))]
    for column in (HEAD, TAIL):
        rounds = torch.randint(n // len(graph.entities), (TRIPLES,))
        lifted[:, column] += rounds * len(graph.entities)
    return bundle_of(vectors, base.relations["relation"].detach(), lifted)


def gaussian(n: int) -> Bundle:
    """``n`` independent vectors and random triples."""
    width, relations = 2 * MODEL["dimension"], 100
    columns = [torch.randint(high, (TRIPLES,)) for high in (n, relations, n)]
    return bundle_of(torch.randn(n, width), torch.randn(relations, width), torch.stack(columns, dim=1))


def bundle_of(vectors: torch.Tensor, relations: torch.Tensor, triples: torch.Tensor) -> Bundle:
    """A bundle of these vectors."""
    names, words = (
        tuple(f"{kind}{i}" for i in range(count)) for kind, count in (("e", len(vectors)), ("r", len(relations)))
    )
    graph = Graph(Vocabulary(names, names), Vocabulary(words, words), triples, triples[:0], triples[:0])
    with torch.device("meta"):
        model = Model(ModelConfig(**MODEL), len(words), {}, torch.ones(len(names), dtype=torch.bool))
    state = {"entities.structure": vectors, "relations.relation": relations}
    model.load_state_dict(state, assign=True)
    model.entities.has_structure = torch.ones(len(names), dtype=torch.bool)
    return Bundle.of(model.requires_grad_(False).eval(), graph)


def measure(name: str, bundle: Bundle, queries: int) -> dict[str, list[tuple[float, float]]]:
    """Print one table; returns (recall, speed over the scan) of each setting, 64 queries at once, by kind of index."""
    engine = Engine(bundle)
    asked = sample(bundle, queries)
    scanned, scan_alone, scan_together = timed(engine, asked)
    model = engine.scorer.model
    vectors = searchable(model)
    assert vectors is not None
    print(
        f"\n{name}: {len(vectors)} entities, {torch.get_num_threads()} threads; queries/s\n\n"
        f"| index | recall@10 | one at a time | × the scan | {TOGETHER} at once | × the scan |\n"
        "|---|---|---|---|---|---|\n"
        f"| exact scan | 1 | {scan_alone:.1f} | 1 | {scan_together:.1f} | 1 |",
        flush=True,
    )
    curves: dict[str, list[tuple[float, float]]] = {}
    for settings in (cells(len(vectors)), codes(*vectors.shape)[:MOST]):
        begun, kind = time.monotonic(), settings[0].kind
        made = make(model, vectors.numpy(), kind)
        print(f"| {kind}, built in {time.monotonic() - begun:.0f} s | | | | | |", flush=True)
        for info in settings:
            engine.scorer.index = Index(model, made, info)
            found, alone, together = timed(engine, asked)
            recall = float(np.mean([len(true & some) / len(true) for true, some in zip(scanned, found, strict=True)]))
            curves.setdefault(kind, []).append((recall, together / scan_together))
            print(
                f"| {f'{info.probes} cells' if info.probes else f'{info.candidates} candidates'} | {recall:.4f} | "
                f"{alone:.0f} | {alone / scan_alone:.1f} | {together:.0f} | {together / scan_together:.1f} |",
                flush=True,
            )
    return curves


def sample(bundle: Bundle, queries: int) -> list[dict]:
    """Heads and tails in turn, known answers included, so that only the search is compared."""
    triples = bundle.train[torch.randperm(len(bundle.train))[:queries]]
    return [
        {part: f"e{triple[column]}", "relation": f"r{triple[RELATION]}", "k": TOP, "exclude_known": False}
        for number, triple in enumerate(triples)
        for part, column in [(("head", HEAD), ("tail", TAIL))[number % 2]]
    ]


def timed(engine: Engine, asked: list[dict]) -> tuple[list[set[str]], float, float]:
    """The keys found, and queries per second one at a time (32 of them) and 64 at once."""
    engine.answer(asked[:2])
    begun = time.perf_counter()
    for query in asked[:32]:
        engine.answer([query])
    alone = 32 / (time.perf_counter() - begun)
    begun = time.perf_counter()
    answers = [a for start in range(0, len(asked), TOGETHER) for a in engine.answer(asked[start : start + TOGETHER])]
    together = len(asked) / (time.perf_counter() - begun)
    return [{p["key"] for p in answer["predictions"]} for answer in answers], alone, together


def draw(curves: dict[str, list[tuple[float, float]]]) -> None:
    """Speed over the exact scan against recall."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set(
        xlabel="recall@10 against the exact scan", ylabel=f"times as fast, {TOGETHER} queries at once", yscale="log"
    )
    axes.set_yticks([1, 2, 5, 10, 20, 50, 100], labels=["1", "2", "5", "10", "20", "50", "100"], minor=False)
    axes.minorticks_off()
    axes.set_ylim(5, 150)
    axes.axhline(20, color="grey", linewidth=0.8, linestyle=":")
    axes.axvline(0.99, color="grey", linewidth=0.8, linestyle=":")
    axes.legend()
    figure.savefig(FIGURE, metadata={"Date": None})


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
