"""``mmkgc ui``: where it sends people."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from mmkgc.components.runtime import tracking
from mmkgc.pipeline.cli.ui import SHOWN, experiments, ui


def test_links_lead_to_the_runs_of_the_newest_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert list(experiments("http://here")) == []
    ids = {name: tracking.experiment_id(name) for name in map(str, range(SHOWN + 2))}
    found = dict(experiments("http://here"))
    assert list(found) == [str(number) for number in reversed(range(2, SHOWN + 2))]
    assert found["4"] == f"http://here/#/experiments/{ids['4']}/runs?workflowType=machine_learning"


def test_the_databases_password_is_neither_printed_nor_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    url, calls = "postgresql://me:secret@db/mlflow", []
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("MLFLOW_BACKEND_STORE_URI", "")
    monkeypatch.setattr("mmkgc.pipeline.cli.ui.experiments", lambda page: [("a\x1b[31m", page)])
    monkeypatch.setattr(
        "subprocess.call", lambda command: calls.append((command, os.environ["MLFLOW_BACKEND_STORE_URI"]))
    )
    printed = CliRunner().invoke(ui).output
    ((command, handed),) = calls
    assert handed == url
    assert not any("secret" in word for word in command)
    assert "postgresql://me:***@db/mlflow" in printed
    assert "secret" not in printed
    assert "\x1b" not in printed
