"""``mmkgc serve``: serves the champion on this machine with TorchServe and the gateway."""

import asyncio
import contextlib
import signal
from pathlib import Path
from socket import socket
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import getproxies

import click

from mmkgc.components.runtime.loopback import is_loopback
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import http_url, json_line, printable, shell
from mmkgc.pipeline.cli.program import program

if TYPE_CHECKING:
    from mmkgc.pipeline.cli.champion import Chosen
    from mmkgc.serving.api.gateway.settings import Limits
    from mmkgc.serving.api.gateway.upstream import Upstream
    from mmkgc.serving.review.proposals import Proposals
    from mmkgc.serving.torchserve.server import TorchServe

WATCH_SECONDS = 5.0
"""Pause between two looks at the registry, unless a webhook of MLflow ends it."""


@click.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port of the gateway and its page."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the gateway; 0.0.0.0 opens it to all.")
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 1024),
    help="Processes that answer; each has its share of the cores.",
)
@click.option("--name", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option(
    "--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Serve this bundle folder."
)
@click.option(
    "--proposals",
    type=click.Path(exists=True, path_type=Path),
    help="Review these on the page (default: the newest of `mmkgc propose` with this model).",
)
def serve(
    port: int, host: str, workers: int, name: str | None, alias: str, bundle: Path | None, proposals: Path | None
) -> None:
    """Serve a model until Ctrl-C, with TorchServe on loopback and the gateway with its explorer page in front.

    The registry is watched: when the alias moves, the new version is started next to the old one and replaces it
    without a failed request.
    """
    from mmkgc.components.runtime.ports import listener
    from mmkgc.components.runtime.processes import Stopped, supervised
    from mmkgc.pipeline.cli.champion import choose
    from mmkgc.serving.api.gateway.hook import PATH as HOOK
    from mmkgc.serving.api.gateway.settings import Limits, Public, own_keys, webhook_secret

    Public.from_env()  # a bad one is refused before anything starts
    hooked = webhook_secret() is not None
    with contextlib.suppress(Stopped), supervised(), listener(host, port) as gate:
        keys, limits = own_keys(), Limits.from_env()
        deployment = Deployment(choose(name, alias, bundle), workers, alias)
        found = reviewed(proposals, deployment.chosen)
        click.echo("starting TorchServe …", err=True)
        try:
            deployment.start()
            url = http_url(host, port)
            click.echo(invitation(url, keys[0], deployment.chosen))
            if hooked:
                click.echo(f"hook   {url}{HOOK}   (MLflow's webhooks, see `mmkgc webhook`)")
            if found:
                page = f"{url}/#view=proposals&key={quote(keys[0], safe='')}"
                click.echo(f"review {page}   ({counted(len(found.triples), 'proposed triple')})")
            asyncio.run(_serve(deployment, host, port, gate, keys, limits, found))
        finally:
            deployment.stop()
            click.echo("stopped", err=True)


class Deployment:
    """The served model and its TorchServe instance; both are replaced when the registry's alias moves."""

    def __init__(self, chosen: "Chosen", workers: int, alias: str) -> None:
        self.chosen, self.workers, self.alias = chosen, workers, alias
        self.server: TorchServe | None = None

    def start(self) -> "TorchServe":
        """Start the chosen model; raises ServerError if it does not load."""
        from mmkgc.serving.torchserve.server import TorchServe

        with TemporaryDirectory() as scratch:
            archive = Path(scratch) / f"{self.chosen.name}.mar"
            pack(self.chosen, archive)
            self.server = TorchServe(archive, self.workers).start()
        return self.server

    def stop(self) -> None:
        """End TorchServe."""
        if self.server is not None:
            self.server.stop()

    async def follow(self, upstream: "Upstream", moved: asyncio.Event) -> None:
        """Switch ``upstream`` to every version that the alias moves to, once it is ready; runs forever.

        Looks at the registry every five seconds, and when ``moved`` is set.
        """
        from mmkgc.serving.api.gateway.observe import log
        from mmkgc.serving.api.gateway.upstream import TorchServeModel

        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(moved.wait(), WATCH_SECONDS)
            moved.clear()
            try:
                newer = await asyncio.to_thread(self._newer)
                if newer is not None:
                    successor = Deployment(newer, self.workers, self.alias)
                    server = await asyncio.to_thread(successor.start)
                    old, self.server, self.chosen = self.server, server, newer
                    await upstream.replace(TorchServeModel(server.predictions_url, server.token))
                    if old is not None:
                        await asyncio.to_thread(old.stop)
                    log.info("serving version %s", newer.version)
            except Exception:  # registry unavailable, or version does not load: keep the old one
                log.exception("the newer version could not be taken over")

    def _newer(self) -> "Chosen | None":
        from mmkgc.components.runtime import model_registry as registry
        from mmkgc.pipeline.cli.champion import choose

        version = registry.version_at(self.chosen.name, self.alias)
        moved = version is not None and version.version != self.chosen.version
        return choose(self.chosen.name, self.alias, None) if moved else None


def invitation(url: str, key: str, chosen: "Chosen") -> str:
    """Instructions for the user: the page, and example queries with curl and the command line."""
    from mmkgc.components.runtime.files import read_json

    words = read_json(chosen.bundle / "vocabulary.json")
    head, relation = (_plainest(words[kind]["keys"]) for kind in ("entities", "relations"))
    body = json_line({"queries": [{"head": head, "relation": relation}]})
    headers = ["-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json"]
    options = ["-g"] * ("[" in url) + ["--noproxy", "*"] * (is_loopback(url) and bool(getproxies()))
    curl = ["curl", *options, f"{url}/v1/complete", *headers, "-d", body]
    dashes = ["--"] * any(key.startswith("-") for key in (head, relation))
    return f"""page   {url}/#key={quote(key, safe="")}
curl   {shell(*curl)}
shell  MMKGC_API_KEY={shell(key)} {shell(program(), "complete", "--url", url, *dashes, head, relation)}"""


def _plainest(keys: list[str]) -> str:
    """The first key without a special meaning for the terminal or ``mmkgc complete``, else the first key."""
    return next((key for key in keys if key == printable(key) and not key.startswith(("-", "@"))), keys[0])


def reviewed(file: Path | None, chosen: "Chosen") -> "Proposals | None":
    """The proposals to review: those of the file, else the chosen model's newest in the store."""
    from mmkgc.components.runtime import digests
    from mmkgc.feature_store.opening import open_storage
    from mmkgc.serving.review.proposals import Proposals, find

    path = file or find(open_storage(), digests.of_folder(chosen.bundle))
    return Proposals(path) if path else None


def pack(chosen: "Chosen", archive: Path) -> None:
    """Write the archive of the chosen model, with thumbnails if its graph is still in the store."""
    from mmkgc.components.dataset.mmkg import MMKG
    from mmkgc.components.package.config import PackageConfig
    from mmkgc.components.package.package import build
    from mmkgc.components.runtime.errors import UserError
    from mmkgc.feature_store.opening import open_storage

    storage = open_storage()
    mmkg = None
    with contextlib.suppress(UserError):
        mmkg = MMKG.load(storage.fetch(chosen.graph_uri)) if chosen.graph_uri else None
    build(archive, chosen.bundle, chosen.version, PackageConfig(name=chosen.name), mmkg, storage)


async def _serve(
    deployment: Deployment,
    host: str,
    port: int,
    gate: socket,
    keys: list[str],
    limits: "Limits",
    proposals: "Proposals | None",
) -> None:
    from mmkgc.serving.api.gateway.app import Hook, create_app
    from mmkgc.serving.api.gateway.connections import server
    from mmkgc.serving.api.gateway.observe import log_json
    from mmkgc.serving.api.gateway.settings import Public, webhook_secret
    from mmkgc.serving.api.gateway.upstream import TorchServeModel

    log_json()
    assert deployment.server is not None
    limits = limits.model_copy(update={"workers": deployment.workers})
    model = TorchServeModel(deployment.server.predictions_url, deployment.server.token)
    moved, secret = asyncio.Event(), webhook_secret()
    hook = Hook(secret, moved.set) if secret else None
    app: Any = create_app(model, keys, limits, proposals, hook, Public.from_env())
    upstream = app.state.gateway.upstream
    following = asyncio.create_task(deployment.follow(upstream, moved)) if deployment.chosen.graph_uri else None
    try:
        gateway = server(app, host, port, limits)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            signal.signal(signal.SIGHUP, gateway.handle_exit)  # as uvicorn itself does for INT and TERM
        await gateway.serve(sockets=[gate])
    finally:
        if following is not None:
            following.cancel()
