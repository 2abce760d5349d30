"""The ``search`` step: an Optuna study over the hyper-parameters of ``train``, judged by development MRR."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import optuna
from optuna.trial import TrialState

from mmkgc.components.evaluate import figures
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import write_json
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.runtime.tracking import step_run
from mmkgc.components.search import space, study
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.scheduler import Scheduler
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.features import used
from mmkgc.feature_store.storage import Storage, Stored

__all__ = ["SearchConfig", "TrainConfig", "search"]

TELLING = 10
"""Minimum number of trials for an estimate of the importance of a key."""


def search(
    graph_uri: str,
    feature_uris: Mapping[str, str],
    train: TrainConfig,
    config: SearchConfig,
    storage: Storage,
    scratch: Path | None = None,
    worker: int = 0,
) -> Stored:
    """Run the study to its number of trials and publish ``best.json``, the overrides that ``train`` applies.

    A call after an interruption, or with more trials, resumes the study. Simultaneous calls with different numbers
    ``worker`` share the trials; each call returns when all trials have ended, with the same result. Every trial is a
    nested MLflow run with its intermediate values; test triples are not used. Raises UserError if the space is
    incompatible with ``train`` or with earlier trials of the study, or if no trial finished.
    """
    space.check(config.space, train)
    uris = used(feature_uris, train, storage)
    name = config.study or _name(graph_uri, uris, train, config)
    folder = (scratch or Settings.from_env().scratch) / "search" / name
    folder.mkdir(parents=True, exist_ok=True)
    opened = study.open_study(name, config, train, folder, worker)
    space.check_study(opened, config.space)
    threads = max(1, (os.cpu_count() or 1) // config.workers)
    tags = {"study": name, "worker": worker}
    with step_run("search", config.model_dump(), tags) as run, TemporaryDirectory() as temporary:
        arguments = (graph_uri, uris, train.model_dump_json(), storage.root, folder, threads)
        suggest = partial(space.suggest, space=config.space, train=train)
        Scheduler(opened, suggest, config.trials, config.workers, arguments, run).run()
        results = _results(opened)
        run.log_metrics({"best_dev_mrr": results["dev_mrr"]})
        run.log_params({f"best.{key}": value for key, value in results["overrides"].items()})
        _write(Path(temporary), opened, results)
        run.log_artifact(Path(temporary))
        return storage.publish(Path(temporary), "searches")


def _name(graph_uri: str, uris: Mapping[str, str], train: TrainConfig, config: SearchConfig) -> str:
    """Default name of the study: a digest of graph, features, recipe and space, not of trials and workers."""
    asked = config.model_dump_json(include={"space", "prune", "seed"})
    return digests.of_json([graph_uri, dict(uris), train.model_dump_json(), asked])[:16]


def _results(opened: optuna.Study) -> dict[str, Any]:
    trials = study.table(opened)
    done = [trial for trial in trials if trial["state"] == "complete"]
    if not done:
        raise UserError("search", f"none of {counted(len(trials), 'trial')} finished", _problems(opened))
    best = max(done, key=lambda trial: trial["dev_mrr"])
    return {
        "study": opened.study_name,
        "trial": best["number"],
        "dev_mrr": best["dev_mrr"],
        "overrides": best["overrides"],
        "trials": trials,
    }


def _problems(opened: optuna.Study) -> str:
    """Why trials failed: at most three reasons."""
    failed = opened.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    told = {str(trial.user_attrs[study.PROBLEM]) for trial in failed if study.PROBLEM in trial.user_attrs}
    if dead := [trial for trial in failed if study.PROBLEM not in trial.user_attrs and not study.is_lost(trial)]:
        told.add(f"{len(dead)} lost their process {study.ATTEMPTS} times, perhaps for want of memory")
    return "; ".join(sorted(told)[:3])


def _write(folder: Path, opened: optuna.Study, results: dict[str, Any]) -> None:
    write_json(folder / "best.json", results)
    done, pruned = (
        [(trial["number"], trial["dev_mrr"]) for trial in results["trials"] if trial["state"] == state]
        for state in ("complete", "pruned")
    )
    figures.save(figures.search_history(done, pruned), folder / "history.png")
    if importance := _importance(opened):
        figures.save(figures.importance_bars(importance), folder / "importance.png")


def _importance(opened: optuna.Study) -> dict[str, float]:
    """Share of each key in the variance of development MRR (fANOVA); empty if there are too few trials.

    Pruned trials count with their last value. Leaving them out would bias the estimate towards good trials.
    """
    reached = [trial for trial in opened.trials if trial.value is not None]
    if len(reached) < TELLING:
        return {}
    study = optuna.create_study(direction="maximize")
    for trial in reached:
        judged = optuna.create_trial(value=trial.value, params=trial.params, distributions=trial.distributions)
        study.add_trial(judged)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
