"""Online answers of a model that was trained on a million entities: its index, the exact scan, and the gateway.

    python tests/benchmarks/million.py FOLDER [ENTITIES]

Graph, features and model are those of `mmkgc bench scale`: ten triples an entity, ComplEx d = 128 with features, one
epoch. They stay in FOLDER, and are not made again. The archive is the package step's. Queries are development triples,
heads and tails in turn, ten answers each. The engine answers them by the index and by an exact scan, with the same
threads; then one client asks TorchServe through the gateway. A million entities take 9 GB of memory and 8 GB of disk.
"""

import asyncio
import statistics
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from index import TOGETHER, TOP, timed
from load import Load, gateway

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import build, write_extras
from mmkgc.components.runtime.processes import supervised
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import scale
from mmkgc.pipeline.cells import in_processes
from mmkgc.serving.engine.engine import Engine
from mmkgc.serving.engine.tables import FILE as TABLES
from mmkgc.serving.torchserve.server import TorchServe

QUERIES, SECONDS = 256, 20.0


def main() -> None:
    folder = Path(sys.argv[1])
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    folder.mkdir(parents=True, exist_ok=True)
    size, config = scale.Size(n, 10 * n, 10 * n // scale.TRAINING["batch_size"]), PackageConfig(name="million")
    for stage, made in ((scale.generate, "features.npy"), (scale.ingest, "graph"), (scale.train, "bundle")):
        if not (folder / made).exists():
            print(stage.__name__, next(in_processes(stage, [(size, folder)], 1, alone=True)), flush=True)
    bundle = folder / "bundle"
    if not (bundle / TABLES).exists():
        begun = time.monotonic()
        write_extras(bundle, Bundle.load(bundle), config)
        print(f"encoded entities and their index were made in {time.monotonic() - begun:.0f} s", flush=True)
    asked = queries(folder)
    beside_the_scan(bundle, asked)
    with supervised():
        served(folder / "million.mar", bundle, config, asked)


def queries(folder: Path) -> list[dict[str, Any]]:
    """Development triples without head or tail, in turn."""
    graph = scale._graph(folder)
    entities, relations = graph.entities.keys, graph.relations.keys
    sides = cycle((("head", HEAD), ("tail", TAIL)))
    return [
        {part: entities[triple[column]], "relation": relations[triple[RELATION]], "k": TOP, "exclude_known": False}
        for triple, (part, column) in zip(graph.valid[:QUERIES].tolist(), sides, strict=False)
    ]


def beside_the_scan(bundle: Path, asked: list[dict[str, Any]]) -> None:
    """Recall of the index, and the speed of both."""
    engine = Engine.load(bundle)
    engine.warm_up()  # as the server does
    index = engine.scorer.index
    if index is None:
        print("the package step found no index with the recall that is asked for: every query is a scan")
        return
    found, alone, together = timed(engine, asked)
    engine.scorer.index = None
    scanned, scan_alone, scan_together = timed(engine, asked)
    recall = np.mean([len(true & some) / len(true) for true, some in zip(scanned, found, strict=True)])
    print(
        f"{len(engine.bundle.entities):,} entities, {torch.get_num_threads()} threads, {len(asked)} queries; "
        f"{index.info}\n\n"
        f"| | recall@{TOP} | queries/s, one at a time | {TOGETHER} at once |\n|---|---|---|---|\n"
        f"| exact scan | 1 | {scan_alone:.1f} | {scan_together:.1f} |\n"
        f"| index | {recall:.4f} | {alone:.0f} ({alone / scan_alone:.0f} ×) | "
        f"{together:.0f} ({together / scan_together:.0f} ×) |\n",
        flush=True,
    )


def served(archive: Path, bundle: Path, config: PackageConfig, asked: list[dict[str, Any]]) -> None:
    """What one client waits."""
    if not archive.exists():
        build(archive, bundle, "v1", config, None, open_storage(str(archive.parent)))
    with TorchServe(archive, 1) as server, gateway(server) as (port, _):
        load = Load(port, "/v1/complete", lambda batch: {"queries": batch})
        for seconds in (5.0, SECONDS):  # the first to warm up
            load.seconds = []
            asyncio.run(load.run(1, seconds, 1, cycle(asked)))
        milliseconds = sorted(1000 * each for each in load.seconds)
        p99 = milliseconds[int(0.99 * (len(milliseconds) - 1))]
        print(
            f"through the gateway, 1 client: {len(milliseconds) / SECONDS:.0f} queries/s, "
            f"p50 {statistics.median(milliseconds):.1f} ms, p99 {p99:.1f} ms, failed {load.failed}"
        )


if __name__ == "__main__":
    main()
