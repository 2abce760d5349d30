"""``mmkgc mcp``: serves a model to agents."""

from pathlib import Path

import click

from mmkgc.components.runtime import extras


@click.command()
@click.option("--http", is_flag=True, help="Serve over HTTP instead of stdin and stdout.")
@click.option("--port", default=8090, show_default=True, type=click.IntRange(1, 65535), help="Port of --http.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of --http; 0.0.0.0 opens it to all.")
@click.option("--name", help="Model in the registry (default: the one promoted last).")
@click.option("--alias", default="champion", show_default=True, help="Which of its versions.")
@click.option(
    "--bundle", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Serve this bundle folder."
)
def mcp(http: bool, port: int, host: str, name: str | None, alias: str, bundle: Path | None) -> None:
    """Serve a model to agents by the Model Context Protocol: complete, score, explain, search, relations, propose.

    An agent starts it itself; in its configuration: {"mcpServers": {"mmkgc": {"command": "mmkgc", "args": ["mcp"]}}}.
    With --http it is at http://HOST:PORT/mcp and requires a key of the gateway (`Authorization: Bearer KEY`).
    """
    extras.need("mcp")
    from mmkgc.pipeline.cli.champion import choose
    from mmkgc.serving.api import mcp_server
    from mmkgc.serving.engine.engine import Engine

    chosen = choose(name, alias, bundle)
    server = mcp_server.server(Engine.load(chosen.bundle, chosen.name, chosen.version))
    if http:
        _serve(server, host, port)
    else:
        server.run()


def _serve(server: object, host: str, port: int) -> None:
    import contextlib

    import uvicorn

    from mmkgc.components.runtime.ports import listener
    from mmkgc.components.runtime.quoting import http_url
    from mmkgc.serving.api import mcp_server
    from mmkgc.serving.api.gateway.settings import Limits, own_keys

    keys, limits = own_keys(), Limits.from_env()
    app = mcp_server.http_app(server, keys, limits.queries_per_second, limits.burst, host)  # type: ignore[arg-type]
    with listener(host, port) as gate, contextlib.suppress(KeyboardInterrupt):
        click.echo(f"MCP    {http_url(host, port)}/mcp\nkey    {keys[0]}   (Ctrl-C stops it)")
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[gate])
