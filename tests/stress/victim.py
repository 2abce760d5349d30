"""The gateway that ``gateway.py`` attacks: an engine with random weights behind it, in a process of its own.

python tests/stress/victim.py PORT [--encoders]
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
ATTACKER, NEIGHBOUR = "attackers-key-0123", "neighbours-key-0123"
DOT = "R0lGODdhAQABAIAAAP///wAAACwAAAAAAQABAAACAkQBADs="  # a picture of one pixel
LIMITS = {"header_seconds": 3.0, "body_seconds": 6.0, "max_connections": 500}


@dataclass
class Victim:
    """The gateway, its port and process, and where its log goes."""

    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    statuses: Counter[int] = field(default_factory=Counter)
    client: httpx.Client = field(default_factory=httpx.Client)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def megabytes(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def post(self, body: Any, key: str | None = ATTACKER, timeout: float = 60) -> int:
        """Send one request; its status, 0 where the connection was ended."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        try:
            status = self.client.post(
                f"{self.url}/v1/complete", content=content, headers=headers, timeout=timeout
            ).status_code
        except httpx.TransportError:
            status = 0
        self.statuses[status] += 1
        return status

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)


@contextmanager
def started(encoders: bool) -> Iterator[Victim]:
    """The gateway in a process of its own, with few file descriptors."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        command = [sys.executable, __file__, str(port), *(["--encoders"] if encoders else [])]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "passive"}
        process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)
        try:
            wait(port, process, Path(folder) / "log")
            yield Victim(port, process, Path(folder) / "log")
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()


def wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(1200):
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
            return
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(log.read_text())


async def serve(port: int, encoders: bool) -> None:
    """The gateway before one worker, which answers in a thread and can do one thing at a time."""
    import resource

    from mmkgc.serving.api.gateway.app import create_app
    from mmkgc.serving.api.gateway.connections import server
    from mmkgc.serving.api.gateway.observe import log_json
    from mmkgc.serving.api.gateway.settings import Limits

    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    log_json()
    limits = Limits.model_validate(LIMITS)
    await server(create_app(Worker(encoders), [ATTACKER, NEIGHBOUR], limits), "127.0.0.1", port, limits).serve()


class Worker:
    """An engine with random weights, 2,000 entities, and the real encoders (VGG-16 with random weights)."""

    def __init__(self, encoders: bool) -> None:
        from mmkgc.serving.engine.engine import Engine

        self.engine = Engine(random_bundle(encoders))
        self.engine.warm_up()
        described = [{"text": "x"}, {"image": DOT}] if encoders else []
        self.engine.answer([{"head": one, "relation": "r1"} for one in described])  # loads the encoders
        self.pool = ThreadPoolExecutor(1)

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        from mmkgc.serving.engine.service import respond

        loop = asyncio.get_running_loop()
        return (await loop.run_in_executor(self.pool, lambda: respond(self.engine, [json.loads(body)])))[0]

    async def close(self) -> None:
        self.pool.shutdown(wait=False)


def random_bundle(encoders: bool, entities: int = 2000, relations: int = 5, triples: int = 20_000) -> Any:
    import torch

    from mmkgc.components.encoders.registry import create
    from mmkgc.components.encoders.sbert import SBERTConfig
    from mmkgc.components.encoders.vgg16 import VGG16Config
    from mmkgc.components.kge.bundle import Bundle
    from mmkgc.components.kge.features import Features
    from mmkgc.components.kge.graph import Graph, Vocabulary
    from mmkgc.components.kge.model import Model, ModelConfig

    torch.manual_seed(0)
    sizes = (entities, relations, entities)
    made = torch.unique(torch.stack([torch.randint(high, (triples,)) for high in sizes], dim=1), dim=0)
    labels = (tuple(f"{letter}{n}" for n in range(size)) for letter, size in (("e", entities), ("r", relations)))
    vocabularies = (Vocabulary(names, names) for names in labels)
    graph = Graph(*vocabularies, train=made[20:], valid=made[:10], test=made[10:20], types=("x",) * entities)
    seen = torch.ones(entities, dtype=torch.bool)
    features = {
        "textual": Features(torch.randn(entities, 384), seen),
        "visual": Features(torch.randn(entities, 4096), seen),
    }
    specs = {"textual": SBERTConfig(), "visual": VGG16Config(weights="random")} if encoders else {}
    model = Model(ModelConfig(dimension=32, structure_dropout=0.2), relations, features, seen).eval()
    return Bundle.of(model, graph, encoders={m: create(config).spec.model_dump() for m, config in specs.items()})


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), "--encoders" in sys.argv))
