"""``mmkgc ui``: where it sends people."""

import json
import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.pipeline.cli.ui import SHOWN, experiments, is_desktop, ui, wait
from mmkgc.pipeline.shared_view import KEY, TAG, state


def test_links_lead_to_the_runs_of_the_newest_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert list(experiments("http://here")) == []
    ids = {name: tracking.experiment_id(name) for name in map(str, range(SHOWN + 2))}
    found = dict(experiments("http://here"))
    assert list(found) == [str(number) for number in reversed(range(2, SHOWN + 2))]
    runs = f"http://here/#/experiments/{ids['4']}/runs?workflowType=machine_learning"
    assert found["4"] == f"{runs}&viewStateShareKey={KEY}"
    assert list(experiments("http://here")) == list(found.items())  # the tags of views change no order
    view = json.loads(tracking.client().get_experiment(ids["4"]).tags[TAG])
    assert "metrics.`test/mrr`" in view["selectedColumns"]


def test_the_view_shows_the_runs_of_pipelines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with tracking.start_run("toy", "whole") as whole:
        monkeypatch.setenv("MLFLOW_RUN_ID", whole.id)
        with tracking.step_run("train"):
            pass
    with tracking.start_run("toy", "rollback", {"mmkgc.step": "rollback"}):
        pass
    api, here = tracking.client(), [tracking.experiment_id("toy")]
    assert len(api.search_runs(here)) == 3
    assert [run.info.run_name for run in api.search_runs(here, state()["searchFilter"])] == ["whole"]


class Server:
    """A process that answers or has ended."""

    def __init__(self, code=None):
        self.code = self.returncode = code

    def __call__(self, command, **_):
        self.command, self.handed = command, os.environ["MLFLOW_BACKEND_STORE_URI"]
        return self

    def poll(self):
        return self.code

    def wait(self, timeout=None):
        return 0


def test_the_databases_password_is_neither_printed_nor_an_argument(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    url, server = "postgresql://me:secret@db/mlflow", Server()
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")
    monkeypatch.setattr("mmkgc.pipeline.cli.ui.experiments", lambda page: [("a\x1b[31m", page)])
    monkeypatch.setattr("mmkgc.pipeline.cli.ui.wait", lambda process, page, log: None)
    monkeypatch.setattr("mmkgc.components.runtime.processes.supervised", nullcontext)
    monkeypatch.setattr("subprocess.Popen", server)
    printed = CliRunner().invoke(ui).output
    assert server.handed == url
    assert not any("secret" in word for word in server.command)
    assert "postgresql://me:***@db/mlflow" in printed
    assert "secret" not in printed
    assert "\x1b" not in printed


def test_a_server_that_ends_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    (tmp_path / "ui.log").write_text("INFO: begins\nno such database\n")
    with pytest.raises(UserError, match=r"ended with code 3: INFO: begins / no such database — see .*ui.log"):
        wait(Server(3), "http://127.0.0.1:1", tmp_path / "ui.log")


def test_the_address_is_printed_once_it_answers(tmp_path: Path) -> None:
    page = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "http.server", page.rpartition(":")[2], "--bind", "127.0.0.1", "-d", str(tmp_path)]
    (tmp_path / "health").write_text("OK")
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        wait(process, page, tmp_path / "ui.log")
        assert urlopen(f"{page}/health").read() == b"OK"
        process.terminate()


@pytest.mark.parametrize(
    ("terminal", "display", "opens"), [(True, ":0", True), (True, "", False), (False, ":0", False)]
)
def test_a_browser_is_opened_only_for_a_person_at_a_desktop(terminal, display, opens, monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert is_desktop() is opens


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]
