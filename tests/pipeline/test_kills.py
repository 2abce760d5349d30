"""The short form of ``tests/stress/kills.py``: a kill, and in the run that goes on after it a signal."""

import runpy
from pathlib import Path

import pytest

KILLS = runpy.run_path(str(Path(__file__).parents[1] / "stress" / "kills.py"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_that_were_killed_and_signalled_leave_nothing(tmp_path, capsys):
    bench = KILLS["Bench"](tmp_path)
    for name in ("KILL", "TERM"):  # after the second no run is open: it has closed the first one's
        process = bench.run()
        log = _wait_for(process, bench.home)
        bench.signalled("run", process, name, 0)
        assert "Executing task" in log.read_text()
    assert bench.held == bench.tried, capsys.readouterr().out


def _wait_for(process, home):
    """The log of a run that works on its first step."""
    import time

    before = set(home.glob("logs/*.log"))
    while process.poll() is None:
        for log in set(home.glob("logs/*.log")) - before:
            if "Executing task" in log.read_text():
                return log
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])
