"""The scheduler of a search: it assigns trials to worker processes and is the only one to use the study and MLflow.

There is one scheduler per machine. On a cluster, several schedulers share one study in a database.
"""

import multiprocessing
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

import optuna
from optuna.trial import TrialState

from mmkgc.components.runtime.progress import Meter
from mmkgc.components.runtime.tracking import PARENT_TAG, Run
from mmkgc.components.search import study as studies
from mmkgc.components.search.worker import Job, Outcome, Report

CONTEXT = multiprocessing.get_context("spawn")
Suggest = Callable[[optuna.Trial], dict[str, Any]]


class Seat:
    """A worker process with its pipe and its current trial."""

    def __init__(self, arguments: tuple) -> None:
        from mmkgc.components.search.worker import work

        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=work, args=(theirs, *arguments), daemon=True)
        self.process.start()
        theirs.close()
        self.trial: optuna.Trial | None = None
        self.run: Run | None = None


class Scheduler:
    """Runs ``trials`` trials of a study on ``workers`` processes."""

    def __init__(
        self, study: optuna.Study, suggest: Suggest, trials: int, workers: int, arguments: tuple, parent: Run
    ) -> None:
        self.study, self.suggest, self.trials = study, suggest, trials
        self.workers, self.arguments, self.parent = workers, arguments, parent
        self.owner = studies.Owner(study)
        self.experiment = parent.api.get_run(parent.id).info.experiment_id

    def run(self) -> None:
        """Run until the study has all its trials; a worker that dies is replaced and its trial is run again."""
        self._tend(starting=True)
        meter = Meter("search", self.trials, "trial", len(self._settled()))
        seats: list[Seat] = []
        try:
            while self._fill(seats):
                ready = wait([seat.pipe for seat in seats], timeout=studies.POLL_SECONDS)
                for seat in [seat for seat in seats if seat.pipe in ready]:
                    if not self._hear(seat, meter):
                        seats.remove(seat)
                self._tend()
        finally:
            for seat in seats:
                seat.process.terminate()
        meter.finish()

    def _tend(self, starting: bool = False) -> None:
        """Record a heartbeat of this process, and take over the trials of processes that have ended."""
        if self.owner.beat():
            for trial in studies.abandon_orphans(self.study, self.owner, starting):
                self._close_lost(trial)

    def _fill(self, seats: list[Seat]) -> bool:
        """Assign trials to idle workers, starting workers while trials are left; False when all trials have ended.

        Trials of other schedulers count too; they are taken over if their process dies.
        """
        idle = [seat for seat in seats if seat.trial is None]
        while (idle or len(seats) < self.workers) and studies.is_open(self.study, self.trials):
            if not idle:
                seats.append(Seat(self.arguments))
            self._begin(idle.pop() if idle else seats[-1])
        return any(seat.trial for seat in seats) or len(self._settled()) < self.trials

    def _begin(self, seat: Seat) -> None:
        seat.trial = trial = self.study.ask()
        trial.set_user_attr("owner", self.owner.key)
        overrides = self.suggest(trial)
        tags = {PARENT_TAG: self.parent.id, "mmkgc.step": "trial", "trial": str(trial.number)}
        created = self.parent.api.create_run(self.experiment, run_name=f"trial {trial.number}", tags=tags)
        seat.run = Run(self.parent.api, created.info.run_id)
        seat.run.log_params(overrides)
        trial.set_user_attr("overrides", overrides)
        trial.set_user_attr("mlflow_run", seat.run.id)
        with suppress(ConnectionError):  # the closed pipe of a dead worker is detected later
            seat.pipe.send(Job(trial.number, overrides))

    def _hear(self, seat: Seat, meter: Meter) -> bool:
        """Handle one message of a worker; False if its pipe is closed because it died."""
        try:
            message = seat.pipe.recv()
            if isinstance(message, Report):
                seat.pipe.send(self._report(seat, message))
            else:
                number = self._end(seat, message)
                meter.advance(note=self._note())
                self._say(number)
        except (EOFError, ConnectionError):
            seat.process.join()
            self._lose(seat)
            return False
        return True

    def _report(self, seat: Seat, report: Report) -> bool:
        """Record the metrics of an epoch; True if the trial must stop."""
        assert seat.trial
        assert seat.run
        seat.run.log_metrics(report.metrics, step=report.epoch)
        if "dev_mrr" not in report.metrics:
            return False
        seat.trial.report(report.metrics["dev_mrr"], report.epoch)
        return seat.trial.should_prune()

    def _end(self, seat: Seat, outcome: Outcome) -> int:
        """Record the outcome of a worker's trial; return its number."""
        assert seat.trial
        assert seat.run
        if outcome.dev_mrr is not None:
            self.study.tell(seat.trial, outcome.dev_mrr)
            seat.run.log_metrics({"best_dev_mrr": outcome.dev_mrr})
        elif outcome.problem is None:
            self.study.tell(seat.trial, state=TrialState.PRUNED)
        else:
            seat.trial.set_user_attr(studies.PROBLEM, outcome.problem)
            self.study.tell(seat.trial, state=TrialState.FAIL)
        self._close(
            seat.run, "FAILED" if outcome.problem else "FINISHED", "pruned" if outcome == Outcome(None) else None
        )
        number, seat.trial, seat.run = seat.trial.number, None, None
        return number

    def _lose(self, seat: Seat) -> None:
        """Queue the trial of a dead worker again, if there is one."""
        if seat.trial is None:
            return
        self.study.tell(seat.trial, state=TrialState.FAIL)
        frozen = self.study.trials[seat.trial.number]
        if studies.is_lost(frozen):
            studies.run_again(self.study, frozen)
        self._close_lost(frozen)

    def _close_lost(self, trial: optuna.trial.FrozenTrial) -> None:
        if run_id := trial.user_attrs.get("mlflow_run"):
            self._close(Run(self.parent.api, run_id), "KILLED", "lost with its process; run again")

    def _close(self, run: Run, status: str, note: str | None) -> None:
        if note:
            run.set_tags({"outcome": note})
        run.api.set_terminated(run.id, status)

    def _settled(self) -> list[optuna.trial.FrozenTrial]:
        return [trial for trial in studies.counted(self.study) if trial.state.is_finished()]

    def _say(self, number: int) -> None:
        """Print one line about a finished trial."""
        trial = self.study.get_trials(deepcopy=False)[number]
        value = f"dev MRR {trial.value:.4f}" if trial.state == TrialState.COMPLETE else trial.state.name.lower()
        done = f"{len(self._settled())} of {self.trials} done"
        print("; ".join(filter(None, [f"trial {number}: {value}", done, self._note()])), file=sys.stderr, flush=True)

    def _note(self) -> str:
        done = (trial for trial in self._settled() if trial.state == TrialState.COMPLETE)
        complete = [trial.value for trial in done if trial.value is not None]
        return f"best dev MRR {max(complete):.4f}" if complete else ""
