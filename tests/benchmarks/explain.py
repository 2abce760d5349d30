"""How much slower is an explained query than a plain one, through gateway and TorchServe?

    python tests/benchmarks/explain.py [BUNDLE …]     # folders; random weights for 15,000 entities come by themselves

One client, one query a request, k = 10, heads and tails in turn, from triples in a random order; plain and explained
requests alternate, so that both have the same machine. Prints medians over the requests, and the mean processor time
of gateway, Java and worker, which depends less on what else runs; then how many of the supporting triples a comparison
with every triple of the relation finds, too.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import httpx
import torch
from costs import random_bundle
from load import KEY, Processes, gateway

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import build
from mmkgc.feature_store.opening import open_storage
from mmkgc.serving.engine import explain
from mmkgc.serving.torchserve.server import TorchServe

REQUESTS = 400  # of each kind
PREDICTIONS = 600
WARM = 40  # requests before them


def queries(bundle: Bundle) -> Iterator[dict]:
    """Heads and tails in turn, of train triples in a random order: frequent relations are asked for more often."""
    order = torch.randperm(len(bundle.train), generator=torch.Generator().manual_seed(0))
    for index, (head, relation, tail) in enumerate(bundle.train[order].tolist()):
        side, entity = (("head", head), ("tail", tail))[index % 2]
        yield {side: bundle.entities.keys[entity], "relation": bundle.relations.keys[relation], "k": 10}


@torch.inference_mode()
def agreement(bundle: Bundle) -> float:
    """Share of the supporting triples that a comparison with all triples of the relation finds as well.

    Of predictions with a random head or tail in the place of a train triple's; relations of any size get a shortlist.
    """
    bundle.model.freeze()
    generator = torch.Generator().manual_seed(0)
    triples = bundle.train[torch.randperm(len(bundle.train), generator=generator)[:PREDICTIONS]].clone()
    changed = torch.randint(len(bundle.entities), (len(triples),), generator=generator)
    triples[torch.arange(len(triples)), 2 * (torch.arange(len(triples)) % 2)] = changed
    found = []
    for few in (0, len(bundle.train)):
        with patch.object(explain, "FEW", few):
            found.append([set(map(tuple, near.tolist())) for near in explain.Evidence(bundle).nearest(triples)])
    return sum(len(some & all_) for some, all_ in zip(*found, strict=True)) / sum(map(len, found[1]))


def measure(name: str, folder: Path, scratch: Path) -> None:
    """Print the medians of one bundle."""
    bundle = Bundle.load(folder)
    build(scratch / "bench.mar", folder, "v1", PackageConfig(name="bench"), None, open_storage(str(scratch)))
    seconds: dict[bool, list[float]] = {False: [], True: []}
    spent = {False: 0.0, True: 0.0}
    headers = {"authorization": f"Bearer {KEY}"}
    with (
        TorchServe(scratch / "bench.mar", 1) as server,
        gateway(server) as (port, pid),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers) as http,
    ):
        assert server.process is not None
        processes = Processes(all=[pid, server.process.pid, *server.worker_pids()])
        for index, query in zip(range(2 * REQUESTS + WARM), queries(bundle), strict=False):
            explained = index // 2 % 2 == 1
            before, begun = processes.seconds()["all"], time.perf_counter()
            answer = http.post("/v1/complete", json={"queries": [query | {"explain": explained}]}).raise_for_status()
            if index >= WARM:
                seconds[explained].append(time.perf_counter() - begun)
                spent[explained] += processes.seconds()["all"] - before
            assert "predictions" in answer.json()["answers"][0]
    largest = max(torch.bincount(bundle.train[:, 1]).tolist())
    about = f"{len(bundle.entities):,} entities, relations of up to {largest:,} triples"
    plain, longer = (1000 * statistics.median(seconds[kind]) for kind in (False, True))
    own, more = (1000 * spent[kind] / REQUESTS for kind in (False, True))
    figures = f"{plain:.1f} | {longer:.1f} | {longer / plain:.2f} | {own:.1f} | {more:.1f} | {more / own:.2f}"
    print(f"| {name}: {about} | {figures} | {agreement(bundle):.1%} |", flush=True)


def main() -> None:
    """Measure each bundle."""
    columns = "plain, ms | explained, ms | ratio | plain, processor ms | explained, processor ms | ratio | same triples"
    print(f"| model | {columns} |")
    print(f"|{8 * '---|'}")
    with tempfile.TemporaryDirectory() as scratch:
        random_bundle().save(Path(scratch) / "random")
        for number, folder in enumerate([*map(Path, sys.argv[1:]), Path(scratch) / "random"]):
            own = Path(scratch) / str(number)
            own.mkdir()
            measure(folder.name, folder, own)


if __name__ == "__main__":
    main()
