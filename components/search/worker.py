"""A worker process: it trains trials one after the other and asks the scheduler whether to continue.

It does not open the study or MLflow, so killing it cannot corrupt them.
"""

import os
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import locked


class Job(NamedTuple):
    """A trial to train: its number and the values of its keys."""

    number: int
    overrides: dict[str, Any]


class Report(NamedTuple):
    """Metrics of an epoch; the scheduler answers True to stop the trial."""

    epoch: int
    metrics: dict[str, float]


class Outcome(NamedTuple):
    """How a trial ended: its best development MRR, or None with the reason."""

    dev_mrr: float | None
    problem: str | None = None


class Pruned(Exception):
    """The scheduler stopped the trial."""


def work(
    scheduler: Connection,
    graph_uri: str,
    feature_uris: dict[str, str],
    config: str,
    store: str,
    scratch: Path,
    threads: int,
) -> None:
    """Train jobs until the scheduler closes the pipe; graph and features are loaded once."""
    import torch

    from mmkgc.components.dataset.mmkg import MMKG
    from mmkgc.components.train.config import TrainConfig
    from mmkgc.components.train.features import training_features
    from mmkgc.feature_store.opening import open_storage

    torch.set_num_threads(threads)
    os.environ.pop("MMKGC_PROGRESS", None)  # the scheduler reports the progress
    scratch = scratch / digests.of_json([graph_uri, feature_uris, config, digests.of_code()])[:16]  # as of a training
    storage, train = open_storage(store), TrainConfig.model_validate_json(config)
    graph = MMKG.load(storage.fetch(graph_uri)).graph
    features = training_features(feature_uris, graph.entities.keys, train, storage)
    try:
        while True:
            scheduler.send(_train(scheduler.recv(), graph, features, train, scratch, scheduler))
    except (EOFError, ConnectionError):
        return  # the scheduler has ended, so nobody reads the outcome


def _train(job: Job, graph: Any, features: Any, train: Any, scratch: Path, scheduler: Connection) -> Outcome:
    """Train one trial; a retried trial resumes from its checkpoint.

    The lock makes a trial wait for another one with the same values, which may be of another search.
    """
    checkpoint = scratch / f"{digests.of_json(job.overrides)[:16]}.pt"
    with locked(checkpoint.with_suffix(".lock"), f"training with the checkpoint {checkpoint}"):
        outcome = _trained(job, graph, features, train, checkpoint, scheduler)
        checkpoint.unlink(missing_ok=True)
    return outcome


def _trained(job: Job, graph: Any, features: Any, train: Any, checkpoint: Path, scheduler: Connection) -> Outcome:
    from mmkgc.components.train.trainer import Trainer

    def report(epoch: int, metrics: dict[str, float]) -> None:
        scheduler.send(Report(epoch, metrics))
        if scheduler.recv():
            raise Pruned

    try:
        trainer = Trainer(graph, features, train.override(job.overrides), checkpoint)
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            trainer.fit(report)
        return Outcome(trainer.selection.best_mrr)
    except Pruned:
        return Outcome(None)
    except (UserError, ValidationError, ArithmeticError) as error:
        return Outcome(None, str(error))
