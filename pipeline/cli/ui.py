"""``mmkgc ui``: MLflow's own page over the local store."""

import os
import subprocess
import sys

import click


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on this machine.")
def ui(port: int) -> None:
    """Open the MLflow UI on the runs and models of $MMKGC_HOME (Ctrl-C stops it)."""
    from components.runtime import tracking
    from components.runtime.settings import Settings

    tracking.client()  # creates or finds the database
    settings = Settings.from_env()
    click.echo(f"MLflow on {settings.tracking_uri}: http://127.0.0.1:{port}  (Ctrl-C stops it)")
    server = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", settings.tracking_uri]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    sys.exit(subprocess.call(server + options))
