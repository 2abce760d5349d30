"""How much slower is an explained query than a plain one, through gateway and TorchServe?

    python tests/benchmarks/explain.py [BUNDLE …]     # folders; random weights for 15,000 entities come by themselves

One client, one query a request, k = 10, heads and tails in turn, from triples in a random order; plain and explained
requests alternate, so that both have the same machine. Prints medians over the requests.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import torch
from costs import random_bundle
from load import KEY, gateway

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import build
from mmkgc.feature_store.opening import open_storage
from mmkgc.serving.torchserve.server import TorchServe

REQUESTS = 400


def queries(bundle: Bundle) -> Iterator[dict]:
    """Heads and tails in turn, of train triples in a random order: frequent relations are asked for more often."""
    order = torch.randperm(len(bundle.train), generator=torch.Generator().manual_seed(0))
    for index, (head, relation, tail) in enumerate(bundle.train[order].tolist()):
        side, entity = (("head", head), ("tail", tail))[index % 2]
        yield {side: bundle.entities.keys[entity], "relation": bundle.relations.keys[relation], "k": 10}


def measure(name: str, folder: Path, scratch: Path) -> None:
    """Print the medians of one bundle."""
    bundle = Bundle.load(folder)
    build(scratch / "bench.mar", folder, "v1", PackageConfig(name="bench"), None, open_storage(str(scratch)))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        TorchServe(scratch / "bench.mar", 1) as server,
        gateway(server) as (port, _),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as http,
    ):
        for index, query in zip(range(2 * REQUESTS + 40), queries(bundle), strict=False):
            explain = index // 2 % 2 == 1
            begun = time.perf_counter()
            answer = http.post("/v1/complete", json={"queries": [query | {"explain": explain}]}).raise_for_status()
            if index >= 40:  # the first ones warm up
                seconds[explain].append(time.perf_counter() - begun)
            assert "predictions" in answer.json()["answers"][0]
    plain, explained = (1000 * statistics.median(seconds[kind]) for kind in (False, True))
    largest = max(torch.bincount(bundle.train[:, 1]).tolist())
    about = f"{len(bundle.entities):,} entities, relations of up to {largest:,} triples"
    print(f"| {name}: {about} | {plain:.1f} | {explained:.1f} | {explained / plain:.2f} |", flush=True)


def main() -> None:
    """Measure each bundle."""
    print("| model | plain, ms | explained, ms | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        random_bundle().save(Path(scratch) / "random")
        for number, folder in enumerate([*map(Path, sys.argv[1:]), Path(scratch) / "random"]):
            own = Path(scratch) / str(number)
            own.mkdir()
            measure(folder.name, folder, own)


if __name__ == "__main__":
    main()
