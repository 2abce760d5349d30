"""Serving under load, beside a naive FastAPI + PyKEEN predict server: ``python tests/benchmarks/load.py``.

15,000 entities, 279 relations, random weights (speed does not depend on them), top 10, heads and tails in turn, known
answers excluded, every query distinct, no result cache. Everything runs on this machine: load, gateway, TorchServe.
``--sustained 600`` keeps 32 clients asking for ten minutes and watches the memory of every process.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Graph, Vocabulary
from mmkgc.components.kge.model import Model, ModelConfig
from mmkgc.components.package.config import PackageConfig
from mmkgc.components.package.package import build
from mmkgc.feature_store.storage import open_storage
from mmkgc.serving.torchserve.server import TorchServe, free_ports, stop_process

ENTITIES, RELATIONS, TRIPLES, DIMENSION = 15_000, 279, 80_000, 200
KEY = "benchmark-key-of-this-run"


def make_bundle(folder: Path, interaction: str) -> None:
    """A bundle of random weights and random triples."""
    torch.manual_seed(0)
    columns = [torch.randint(high, (TRIPLES,)) for high in (ENTITIES, RELATIONS, ENTITIES)]
    entities = Vocabulary(*[tuple(f"e{index}" for index in range(ENTITIES))] * 2)
    relations = Vocabulary(*[tuple(f"r{index}" for index in range(RELATIONS))] * 2)
    triples = torch.stack(columns, dim=1)
    graph = Graph(entities, relations, train=triples, valid=triples[:0], test=triples[:0])
    config = ModelConfig(dimension=DIMENSION, interaction=interaction, fusion="structure")
    model = Model(config, RELATIONS, {}, torch.ones(ENTITIES, dtype=torch.bool))
    Bundle.of(model.eval(), graph).save(folder)


def queries() -> Iterator[dict]:
    """Distinct queries without end, heads and tails in turn."""
    pairs = random.Random(0).sample(range(ENTITIES * RELATIONS), ENTITIES * RELATIONS)
    for index, pair in enumerate(pairs):
        side = ("head", "tail")[index % 2]
        yield {side: f"e{pair // RELATIONS}", "relation": f"r{pair % RELATIONS}", "k": 10}


class Load:
    """Clients on keep-alive connections, each sending its next request when the last is answered."""

    def __init__(self, port: int, path: str, wrap) -> None:
        self.port, self.path, self.wrap = port, path, wrap
        self.seconds: list[float] = []
        self.failed = 0

    async def run(self, clients: int, duration: float, per_request: int, stream: Iterator[dict]) -> None:
        """Ask for ``duration`` seconds."""
        deadline = time.perf_counter() + duration
        await asyncio.gather(*(self._client(deadline, per_request, stream) for _ in range(clients)))

    async def _client(self, deadline: float, per_request: int, stream: Iterator[dict]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while time.perf_counter() < deadline:
            body = json.dumps(self.wrap([next(stream) for _ in range(per_request)])).encode()
            head = f"POST {self.path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n"
            begun = time.perf_counter()
            writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
            headers = await reader.readuntil(b"\r\n\r\n")
            answer = await reader.readexactly(int(headers.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            self.seconds.append(time.perf_counter() - begun)
            self.failed += not headers.startswith(b"HTTP/1.1 200") or b'"error"' in answer
        writer.close()


class Processes:
    """The processes that share this machine, by role; their processor time and memory."""

    def __init__(self, **pids: list[int]) -> None:
        self.pids = pids

    def seconds(self) -> dict[str, float]:
        """Processor time so far, of each role."""
        return {role: sum(_processor_seconds(pid) for pid in pids) for role, pids in self.pids.items()}

    def megabytes(self) -> dict[str, list[dict[str, int]]]:
        """Memory of each process: what it has written itself, and its part of all that it maps (PSS), which also grows
        when another process that mapped the same libraries ends.
        """
        return {role: [_memory(pid) for pid in pids] for role, pids in self.pids.items()}

    async def watch(self, duration: float, samples: int = 10) -> None:
        """Print the memory at even times."""
        for number in range(samples):
            await asyncio.sleep(duration / samples)
            print(f"    after {duration * (number + 1) / samples:5.0f} s, MB: {self.megabytes()}", flush=True)


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    held = {name: int(rest.split()[0]) for name, rest in (line.split(":") for line in lines)}  # kB
    return {"own": held["Private_Dirty"] // 1024, "PSS": held["Pss"] // 1024}


def measure(
    name: str,
    port: int,
    path: str,
    wrap,
    clients: int,
    duration: float,
    per_request: int = 1,
    processes: Processes | None = None,
    watch: bool = False,
) -> float:
    """Print one line and return queries per second."""
    processes = processes or Processes()
    load = Load(port, path, wrap)
    asyncio.run(load.run(clients, 2, per_request, STREAM))  # warm
    load.seconds, load.failed = [], 0
    before, begun = processes.seconds(), time.perf_counter()

    async def run() -> None:
        watching = [processes.watch(duration)] if watch else []
        await asyncio.gather(load.run(clients, duration, per_request, STREAM), *watching)

    asyncio.run(run())
    rate = len(load.seconds) * per_request / (time.perf_counter() - begun)
    milliseconds = sorted(1000 * seconds for seconds in load.seconds)
    p50, p99 = statistics.median(milliseconds), milliseconds[int(0.99 * (len(milliseconds) - 1))]
    print(f"{name:<44}{rate:9.0f} queries/s   p50 {p50:7.1f} ms   p99 {p99:7.1f} ms   failed {load.failed}", flush=True)
    spent = {role: seconds - before[role] for role, seconds in processes.seconds().items()}
    if spent:
        each = "  ".join(f"{role} {1000 * s / len(load.seconds) / per_request:.2f}" for role, s in spent.items())
        print(f"    processor ms a query: {each}", flush=True)
    return rate


@contextmanager
def gateway(server: TorchServe) -> Iterator[tuple[int, int]]:
    """Port and process id of our gateway in a process of its own."""
    (port,) = free_ports(1)
    variables = {
        "MMKGC_GATEWAY_UPSTREAM": server.predictions_url,
        "MMKGC_GATEWAY_UPSTREAM_TOKEN": server.token,
        "MMKGC_API_KEYS": KEY,
        "MMKGC_GATEWAY_QUERIES_PER_SECOND": "1e9",
        "MMKGC_GATEWAY_BURST": "1000000000",
        "MMKGC_GATEWAY_WORKERS": str(server.workers or 1),
    }
    command = [sys.executable, "-m", "mmkgc.serving.api.gateway", "--host", "127.0.0.1", "--port", str(port)]
    with process(command, variables, port) as pid:
        yield port, pid


@contextmanager
def naive() -> Iterator[int]:
    """What one would write first: FastAPI, one request one ``predict_target``."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "naive_server:app"]
    with process([*command, "--port", str(port), "--log-level", "warning"], {}, port):
        yield port


@contextmanager
def process(command: list[str], variables: dict[str, str], port: int) -> Iterator[int]:
    """Process id of a server, ready until the block ends."""
    started = subprocess.Popen(command, env=os.environ | variables, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield started.pid
    finally:
        stop_process(started)


def ours(interaction: str, workers: int, duration: float, sustained: float = 0) -> float:
    """Measure one model behind gateway and TorchServe; returns requests per second of 32 clients."""
    with tempfile.TemporaryDirectory() as scratch:
        bundle, archive = Path(scratch) / "bundle", Path(scratch) / "bench.mar"
        make_bundle(bundle, interaction)
        build(archive, bundle, "v1", PackageConfig(name="bench"), None, open_storage(scratch))
        with TorchServe(archive, workers) as server, gateway(server) as (port, pid):
            assert server.process is not None
            processes = Processes(
                load=[os.getpid()], gateway=[pid], java=[server.process.pid], workers=server.worker_pids()
            )
            ask = (port, "/v1/complete", lambda batch: {"queries": batch})
            if sustained:
                return measure(
                    f"{interaction}: gateway, 32 clients", *ask, 32, sustained, processes=processes, watch=True
                )
            measure(f"{interaction}: gateway, 1 client", *ask, 1, duration, processes=processes)
            rate = measure(f"{interaction}: gateway, 32 clients", *ask, 32, duration, processes=processes)
            measure(f"{interaction}: gateway, 4 clients × 256 queries", *ask, 4, duration, 256, processes)
            print(f"    MB of the workers: {processes.megabytes()['workers']}", flush=True)
    return rate


def main() -> None:
    """Measure and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--sustained", type=float, default=0, help="seconds of one long run, instead of the table")
    options = parser.parse_args()
    if options.sustained:
        ours("rotate", options.workers, options.seconds, options.sustained)
        return
    rate = ours("rotate", options.workers, options.seconds)
    ours("complex", options.workers, options.seconds)
    with naive() as port:
        measure("rotate: naive server, 1 client", port, "/predict", lambda batch: batch[0], 1, options.seconds)
        beside = measure(
            "rotate: naive server, 32 clients", port, "/predict", lambda batch: batch[0], 32, options.seconds
        )
    print(f"32 clients, rotate: {rate / beside:.1f} × the naive server")


STREAM = queries()

if __name__ == "__main__":
    main()
