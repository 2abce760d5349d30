"""``mmkgc ui``: starts the MLflow UI on the local store."""

import os
import subprocess
import sys
from collections.abc import Iterator

import click

from mmkgc.components.runtime.quoting import masked, printable

SHOWN = 5  # experiments


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
def ui(port: int) -> None:
    """Open the MLflow UI on the runs and models of $MMKGC_HOME (Ctrl-C stops it)."""
    from mmkgc.components.runtime.ports import listener
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings

    listener("127.0.0.1", port).close()  # check that the port is free before the URL is printed
    uri, page = Settings.from_env().tracking_uri, f"http://127.0.0.1:{port}"
    click.echo(f"MLflow on {masked(uri)}: {page}  (Ctrl-C stops it)")
    for name, link in experiments(page):
        click.echo(f"  {printable(name)}  {link}")
    os.environ["MLFLOW_BACKEND_STORE_URI"] = uri  # not an argument, which all users of this machine can read
    server = [sys.executable, "-m", "mlflow", "server"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    with supervised():
        sys.exit(subprocess.call(server + options))


def experiments(page: str) -> Iterator[tuple[str, str]]:
    """Names of the newest experiments, and links to their runs.

    By default MLflow shows traces of language models until one selects "Model training"; these links select it.
    """
    from mmkgc.components.runtime import tracking

    found = tracking.client().search_experiments(order_by=["last_update_time DESC"], max_results=SHOWN + 1)
    ours = [experiment for experiment in found if experiment.name != "Default"][:SHOWN]
    for experiment in ours:
        yield experiment.name, f"{page}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
