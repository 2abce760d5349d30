"""Runs the gateway in a container: ``python -m mmkgc.serving.api.gateway`` (settings: ``app.from_env``)."""

import sys

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.serving.api.gateway.app import from_env
from mmkgc.serving.api.gateway.connections import server
from mmkgc.serving.api.gateway.settings import Limits


@click.command()
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")
@click.option("--port", default=8080, show_default=True, help="Port to listen on.")
def main(host: str, port: int) -> None:
    """Serve the gateway until it is stopped."""
    try:
        app, limits = from_env(), Limits.from_env()
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    server(app, host, port, limits).run()


if __name__ == "__main__":
    main()
