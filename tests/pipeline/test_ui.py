"""``mmkgc ui``: where it sends people."""

from pathlib import Path

import pytest

from mmkgc.components.runtime import tracking
from mmkgc.pipeline.cli.ui import SHOWN, experiments


def test_links_lead_to_the_runs_of_the_newest_experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert list(experiments("http://here")) == []
    ids = {name: tracking.experiment_id(name) for name in map(str, range(SHOWN + 2))}
    found = dict(experiments("http://here"))
    assert list(found) == [str(number) for number in reversed(range(2, SHOWN + 2))]
    assert found["4"] == f"http://here/#/experiments/{ids['4']}/runs?workflowType=machine_learning"
