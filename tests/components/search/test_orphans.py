"""Trials whose process ended: an interrupted search runs them again, one that died alone is tried three times."""

import socket
import subprocess
import sys

import optuna
import pytest
from optuna.trial import TrialState

from mmkgc.components.search.study import Owner, abandon_orphans, counted, is_open


@pytest.fixture
def study() -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(direction="maximize")


def dead() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def lose_a_trial(study: optuna.Study, starting: bool, host: str | None = None) -> optuna.trial.FrozenTrial:
    """A process begins a trial and ends; another one finds out."""
    trial = study.ask()
    trial.suggest_float("lr", 0, 1)
    trial.set_user_attr("owner", f"{host or socket.gethostname()}/{dead()}/0")
    abandon_orphans(study, Owner(study), starting)
    return study.get_trials()[trial.number]


def test_an_interrupted_search_uses_up_no_attempt(study: optuna.Study) -> None:
    tried = [lose_a_trial(study, starting=True) for _ in range(5)]
    assert {trial.state for trial in tried} == {TrialState.FAIL}
    assert {trial.params["lr"] for trial in tried} == {tried[0].params["lr"]}
    assert is_open(study, 1)
    (waiting,) = counted(study)
    assert waiting.user_attrs["attempt"] == 1


@pytest.mark.parametrize(("starting", "host"), [(False, None), (True, "elsewhere")])
def test_a_trial_whose_process_alone_died_is_tried_three_times(
    study: optuna.Study, starting: bool, host: str | None
) -> None:
    """A search that starts cannot tell whether a pod of another machine died of its trial."""
    tried = [lose_a_trial(study, starting, host) for _ in range(3)]
    assert [trial.user_attrs.get("attempt", 1) for trial in tried] == [1, 2, 3]
    assert [trial.number for trial in counted(study)] == [2]
    assert not is_open(study, 1)
