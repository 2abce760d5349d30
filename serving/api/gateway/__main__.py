"""Runs the gateway in a container: ``python -m mmkgc.serving.api.gateway`` (settings: ``app.from_env``)."""

import click

from mmkgc.components.runtime.command import command, debug_option
from mmkgc.components.runtime.ports import listener
from mmkgc.serving.api.gateway.app import from_env
from mmkgc.serving.api.gateway.connections import server
from mmkgc.serving.api.gateway.settings import Limits


@click.command(params=[debug_option()])
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def main(host: str, port: int) -> None:
    """Serve the gateway until it is stopped."""
    with command("gateway"):
        app, limits = from_env(), Limits.from_env()
        with listener(host, port) as gate:
            server(app, host, port, limits).run(sockets=[gate])


if __name__ == "__main__":
    main()
