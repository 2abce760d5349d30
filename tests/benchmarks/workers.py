"""Memory of one and of two workers, with and without the tables that the package step computes.

    python tests/benchmarks/workers.py

15,000 entities with text and image features, RotatE d = 200, AdaMF: structure, two projected modalities and the fused
vectors are 4 × 24 MB. Without the tables each worker computes its own; with them all map the same file. Prints the sum
of the workers' proportional set sizes (a page that several processes share counts in parts), after 100 queries each.
"""

import multiprocessing
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import write_extras
from mmkgc.serving.engine.engine import Engine

ENTITIES, RELATIONS, TRIPLES = 15_000, 279, 80_000
WIDTHS = {"textual": 384, "visual": 768}


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        own, shared = Path(scratch) / "own", Path(scratch) / "shared"
        for folder in (own, shared):
            make_bundle().save(folder)
        write_extras(shared, Bundle.load(shared), PackageConfig())
        print("| | 1 worker, MB | 2 workers, MB | the second costs, MB |\n|---|---|---|---|")
        for name, folder in (("each its own tables", own), ("tables mapped from the archive", shared)):
            one, two = (memory(folder, count) for count in (1, 2))
            print(f"| {name} | {one:.0f} | {two:.0f} | {two - one:.0f} |", flush=True)


def make_bundle() -> Bundle:
    """Random weights, features and triples."""
    torch.manual_seed(0)
    sizes = {"e": ENTITIES, "r": RELATIONS}
    entities, relations = (Vocabulary(*[tuple(f"{kind}{i}" for i in range(n))] * 2) for kind, n in sizes.items())
    triples = torch.stack([torch.randint(high, (TRIPLES,)) for high in (ENTITIES, RELATIONS, ENTITIES)], dim=1)
    everyone = torch.ones(ENTITIES, dtype=torch.bool)
    features = {m: Features(torch.randn(ENTITIES, width), everyone.clone()) for m, width in WIDTHS.items()}
    model = Model(ModelConfig(dimension=200), RELATIONS, features, everyone)
    return Bundle.of(model.eval(), Graph(entities, relations, triples, triples[:0], triples[:0]))


def memory(folder: Path, count: int) -> float:
    """Megabytes of ``count`` workers together."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(count)]
    workers = [context.Process(target=work, args=(folder, theirs)) for _, theirs in pipes]
    for worker in workers:
        worker.start()
    for ours, _ in pipes:
        ours.recv()
    total = sum(pss(worker.pid) for worker in workers)
    for ours, _ in pipes:
        ours.send("enough")
    for worker in workers:
        worker.join()
    return total / 1024


def work(folder: Path, pipe: Connection) -> None:
    """Answer queries, then wait."""
    engine = Engine.load(folder)
    engine.answer([{"head": f"e{i}", "relation": f"r{i}"} for i in range(100)])
    pipe.send("ready")
    pipe.recv()


def pss(pid: int | None) -> int:
    """Proportional set size, kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


if __name__ == "__main__":
    main()
