"""The Optuna study of a search: opening it, counting its trials, and retrying trials whose process died."""

import json
import os
import socket
import time
import uuid
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from mmkgc.components.runtime.files import set_aside
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.train.config import TrainConfig

PROBLEM = "problem"
INTERRUPTED = "interrupted"
"""Mark of a trial that ended with the whole search: a signal, or a machine that was switched off."""
ATTEMPTS = 3
"""Maximum number of attempts of a trial whose process alone dies; the trial itself may need too much memory."""
POLL_SECONDS = 2.0
BEAT_SECONDS = 20.0
SILENT_SECONDS = 120.0
UNSIGNED_SECONDS = 5.0


def open_study(name: str, config: SearchConfig, train: TrainConfig, folder: Path, worker: int = 0) -> optuna.Study:
    """Create or load the study of this name: in the database of ``config``, else in a journal file in ``folder``.

    ``worker`` numbers processes that start at the same time, so that their samplers have different seeds.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.HyperbandPruner(min_resource=train.evaluate_every, max_resource=train.epochs)
    study = optuna.create_study(
        study_name=name,
        storage=_storage(config, folder),
        direction="maximize",
        load_if_exists=True,
        pruner=pruner if config.prune else optuna.pruners.NopPruner(),
    )
    luck = np.random.SeedSequence([config.seed, worker, len(study.trials)])  # a resumed study must not repeat its draws
    seed = int(luck.generate_state(1)[0])
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return study


def _storage(config: SearchConfig, folder: Path) -> optuna.storages.BaseStorage:
    if config.storage:
        return _database(config.storage)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / "journal.log"
    _keep_whole_lines(journal)
    try:
        return _journal(journal)
    except (ValueError, KeyError, TypeError, AssertionError) as error:  # lines of JSON that are none of Optuna's
        set_aside(journal, f"{type(error).__name__}: {error}", "the search begins anew")
        return _journal(journal)


def _journal(path: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(JournalFileBackend(str(path)))


def _keep_whole_lines(journal: Path) -> None:
    """Set a damaged journal aside, and go on with the lines before the damage.

    A last line that is not whole, such as one of a process that was killed while it wrote, counts as well: Optuna
    tolerates it until the next line is appended, and can read neither afterwards. The lock is Optuna's own.
    """
    if not journal.is_file():
        return
    lock = JournalFileSymlinkLock(str(journal))
    lock.acquire()
    try:
        data = journal.read_bytes()
        lines = list(takewhile(_is_whole, data.splitlines(keepends=True)))
        whole = b"".join(lines)
        if whole != data:
            set_aside(journal, "a line is not whole", "the search goes on with the trials before it")
            journal.write_bytes(whole)
    finally:
        lock.release()


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return line.endswith(b"\n")


def _database(url: str, patience: int = 10) -> optuna.storages.RDBStorage:
    """Open the database and create its tables; retries if another process creates the tables at the same time."""
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    while True:
        try:
            return optuna.storages.RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except (IntegrityError, ProgrammingError):
            if not patience:
                raise
            patience -= 1
            time.sleep(0.5)


class Owner:
    """This process as the owner of running trials, so that other processes can detect that it has ended.

    A process on the same machine is checked by its id; one elsewhere must have sent a heartbeat within two minutes.
    """

    def __init__(self, study: optuna.Study) -> None:
        self.study, self.host, self.pid, self.beaten = study, socket.gethostname(), os.getpid(), 0.0
        self.key = f"{self.host}/{self.pid}/{uuid.uuid4().hex}"

    def beat(self) -> bool:
        """Record a heartbeat, at most every 20 seconds; True if one was recorded."""
        if time.time() - self.beaten < BEAT_SECONDS:
            return False
        self.beaten = time.time()
        self.study.set_user_attr(f"alive {self.key}", self.beaten)
        return True

    def is_orphan(self, trial: FrozenTrial) -> bool:
        """Whether the process that runs the trial has ended."""
        if "owner" not in trial.user_attrs:  # it ended before it recorded itself as the owner
            begun = trial.datetime_start or datetime.now()
            return (datetime.now() - begun).total_seconds() > UNSIGNED_SECONDS
        if trial.user_attrs["owner"] == self.key:
            return False
        host, pid, _ = trial.user_attrs["owner"].split("/")
        if host == self.host:
            return int(pid) == self.pid or not _is_alive(int(pid))
        return time.time() - self.study.user_attrs.get(f"alive {trial.user_attrs['owner']}", 0.0) > SILENT_SECONDS

    def is_neighbour(self, trial: FrozenTrial) -> bool:
        """Whether a process of this machine ran the trial, as far as is known."""
        return str(trial.user_attrs.get("owner", self.key)).split("/")[0] == self.host


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_lost(trial: FrozenTrial) -> bool:
    """Whether a trial failed because its process ended; the third time counts as failed, unless interrupted."""
    if trial.state != TrialState.FAIL or PROBLEM in trial.user_attrs:
        return False
    return INTERRUPTED in trial.user_attrs or trial.user_attrs.get("attempt", 1) < ATTEMPTS


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count towards the requested number: all except lost ones, which are run again."""
    return [trial for trial in study.get_trials(deepcopy=False) if not is_lost(trial)]


def is_open(study: optuna.Study, trials: int) -> bool:
    """Whether there is a trial to start: a queued one, or a new one."""
    waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
    return bool(waiting) or len(counted(study)) < trials


def abandon_orphans(study: optuna.Study, owner: Owner, starting: bool = False) -> list[FrozenTrial]:
    """Mark running trials whose process has ended as failed, and queue the parameters of lost trials again.

    ``starting``: this process begins, so orphans of its machine ended with an earlier search as a whole.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    orphans = [trial for trial in running if owner.is_orphan(trial)]
    if starting:
        for trial in filter(owner.is_neighbour, orphans):
            optuna.Trial(study, trial._trial_id).set_user_attr(INTERRUPTED, True)
    found = [trial for trial in orphans if _fail(study, trial)]
    again = {trial.user_attrs.get("retry_of") for trial in study.get_trials(deepcopy=False)}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        if is_lost(trial) and trial.number not in again:
            run_again(study, trial)
    return found


def run_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Queue the parameters of a lost trial."""
    attempt = trial.user_attrs.get("attempt", 1) + (INTERRUPTED not in trial.user_attrs)
    study.enqueue_trial(trial.params, user_attrs={"attempt": attempt, "retry_of": trial.number})


def _fail(study: optuna.Study, trial: FrozenTrial) -> bool:
    try:
        study.tell(trial.number, state=TrialState.FAIL)
    except ValueError:  # another process of the study was first
        return False
    return True


def table(study: optuna.Study) -> list[dict[str, Any]]:
    """Every trial as a JSON row, in order."""
    return [
        {
            "number": trial.number,
            "state": "lost" if is_lost(trial) else trial.state.name.lower(),
            "dev_mrr": trial.value,
            "overrides": trial.user_attrs.get("overrides", {}),
            "retry_of": trial.user_attrs.get("retry_of"),
        }
        for trial in study.get_trials(deepcopy=False)
    ]
