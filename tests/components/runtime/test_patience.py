"""A user's command is told at once that a service is away; a step waits, but not for ever."""

import pytest

from mmkgc.components.runtime import patience
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.patience import Away, patiently


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only while somebody sleeps; the pauses so far."""
    pauses = []
    monkeypatch.setattr(patience.time, "monotonic", lambda: sum(pauses))
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    for name in ("MMKGC_PIPELINE_RUN", "MLFLOW_RUN_ID", patience.PATIENCE):
        monkeypatch.delenv(name, raising=False)
    return pauses


def away_until(seconds, clock):
    def ask():
        if sum(clock) < seconds:
            raise Away("MLflow at http://host", "no answer", "start it")
        return "here"

    return ask


def test_a_command_does_not_wait(clock):
    with pytest.raises(UserError, match=r"^MLflow at http://host: no answer — start it$"):
        patiently(away_until(1, clock))
    assert not clock


@pytest.mark.parametrize("variable", ["MMKGC_PIPELINE_RUN", "MLFLOW_RUN_ID"])
def test_a_step_waits_and_says_so_once(variable, clock, monkeypatch, caplog):
    monkeypatch.setenv(variable, "a-run")
    assert patiently(away_until(60, clock)) == "here"
    assert 60 <= sum(clock) < 60 + patience.PAUSE_SECONDS
    assert [record.getMessage() for record in caplog.records] == [
        "MLflow at http://host: no answer; trying again for 300 s"
    ]


@pytest.mark.parametrize("seconds", [0, 7, 600])
def test_its_patience_ends(seconds, clock, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "a-run")
    monkeypatch.setenv(patience.PATIENCE, str(seconds))
    with pytest.raises(UserError) as told:
        patiently(away_until(10_000, clock))
    assert type(told.value) is UserError  # the name by which logs of steps are searched
    assert sum(clock) == seconds
    assert f"still so after {seconds} s" in str(told.value) or not seconds


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_a_patience_that_is_no_number_is_refused(value, clock, monkeypatch):
    monkeypatch.setenv(patience.PATIENCE, value)
    with pytest.raises(UserError, match=f"MMKGC_PATIENCE_SECONDS {value}: .*give a number"):
        patience.patience()


def test_errors_that_time_does_not_mend_are_raised_at_once(clock, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "a-run")

    def ask():
        raise UserError("MLflow", "it refuses these credentials")

    with pytest.raises(UserError, match="refuses"):
        patiently(ask)
    assert not clock
