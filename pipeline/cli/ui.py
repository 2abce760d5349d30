"""``mmkgc ui``: starts the MLflow UI on the local store."""

import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import click

from mmkgc.components.runtime import extras
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import masked, printable

SHOWN = 5  # experiments
PAUSE_SECONDS = 0.2
LAST_LINES = 5


@click.command()
@click.option("--port", default=5000, show_default=True, type=click.IntRange(1, 65535), help="Port on this machine.")
@click.option("--open/--no-open", "shown", default=None, help="Open the page in a browser (default: on a desktop).")
def ui(port: int, shown: bool | None) -> None:
    """Open the MLflow UI on the runs and models of $MMKGC_HOME (Ctrl-C stops it)."""
    from mmkgc.components.runtime.ports import listener
    from mmkgc.components.runtime.processes import supervised
    from mmkgc.components.runtime.settings import Settings

    extras.need("mlflow")  # before anything is written
    listener("127.0.0.1", port).close()  # check that the port is free before the server starts
    settings, page = Settings.from_env(), f"http://127.0.0.1:{port}"
    log = settings.home / "logs" / "ui.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    found = list(experiments(page))
    os.environ["MLFLOW_BACKEND_STORE_URI"] = settings.tracking_uri  # not an argument, which all users here can read
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # seven processes, for evaluations of language models
    server = [sys.executable, "-m", "mlflow", "server"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with supervised(), log.open("wb") as file:
        process = subprocess.Popen(server + options, stdout=file, stderr=file)
        wait(process, page, log)
        click.echo(f"MLflow on {masked(settings.tracking_uri)}: {page}  (Ctrl-C stops it)")
        for name, link in found:
            click.echo(f"  {printable(name)}  {link}")
        if shown or (shown is None and is_desktop()):
            webbrowser.open(found[0][1] if found else page)
        sys.exit(process.wait())


def wait(process: "subprocess.Popen[bytes]", page: str, log: Path) -> None:
    """Wait until the page answers. Raises UserError, with the end of the log, if the process ends before."""
    opener = build_opener(ProxyHandler({}))  # no proxy reaches this machine's own address
    while process.poll() is None:
        try:
            opener.open(f"{page}/health", timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(PAUSE_SECONDS)
    said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
    raise UserError("MLflow", f"its server ended with code {process.returncode}: {' / '.join(said)}", f"see {log}")


def is_desktop() -> bool:
    """Whether a person at a terminal has a browser with windows, not one that would take over the terminal."""
    has_windows = sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return sys.stdout.isatty() and bool(has_windows)


def experiments(page: str) -> Iterator[tuple[str, str]]:
    """Names of the newest experiments, and links to their runs.

    By default MLflow shows traces of language models until one selects "Model training"; these links select it, and the
    prepared view of runs.
    """
    from mmkgc.components.runtime import tracking
    from mmkgc.pipeline.shared_view import shared

    api = tracking.client()
    found = api.search_experiments(order_by=["last_update_time DESC"], max_results=SHOWN + 1)
    for experiment in [experiment for experiment in found if experiment.name != "Default"][:SHOWN]:
        key = shared(api, experiment)
        view = f"&viewStateShareKey={key}" if key else ""
        runs = f"{page}/#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning{view}"
        yield experiment.name, runs
