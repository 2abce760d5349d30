import multiprocessing
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import optuna
import pytest
from pydantic import ValidationError

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.ingest import IngestConfig, ingest
from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.search import search
from mmkgc.components.search.space import check_study, suggest
from mmkgc.components.search.worker import Job, _train
from mmkgc.components.train.config import TrainConfig

SPACE = {
    "optimizer.lr": {"low": 1e-3, "high": 0.3, "log": True},
    "model.dimension": {"low": 4, "high": 16, "step": 4, "integer": True},
    "model.interaction": {"values": ["distmult", "complex"]},
}


def best_of(stored, storage):
    return read_json(storage.fetch(stored.uri) / "best.json")


def test_a_search_finds_its_best_trial_and_shows_every_one_in_mlflow(toy):
    config = SearchConfig(trials=4, workers=2, space=SPACE)
    best = best_of(search(*toy[:3], config, toy.storage), toy.storage)
    assert [trial["state"] for trial in best["trials"]].count("complete") >= 1
    assert len(best["trials"]) == 4
    assert best["dev_mrr"] == max(trial["dev_mrr"] for trial in best["trials"] if trial["state"] == "complete")
    toy.train.override(best["overrides"])
    api = tracking.client()
    runs = api.search_runs([tracking.experiment_id("mmkgc")], "tags.`mmkgc.step` = 'trial'")
    assert sorted(run.data.tags["trial"] for run in runs) == ["0", "1", "2", "3"]
    assert all("optimizer.lr" in run.data.params for run in runs)
    history = api.get_metric_history(runs[0].info.run_id, "dev_mrr")
    assert [point.step for point in history][:2] == [1, 2]


@pytest.mark.slow
def test_of_forty_trials_on_countries_none_is_lost_or_counted_twice_when_workers_are_killed(toy):
    graph = ingest("countries", IngestConfig(), toy.storage)
    killed, over = [], threading.Event()

    def kill_twice():
        while len(killed) < 2 and not over.wait(3):
            victim = random.choice(multiprocessing.active_children())
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    assassin = threading.Thread(target=kill_twice)
    assassin.start()
    train, config = toy.train.override({"batch_size": 512}), SearchConfig(trials=40, workers=4, space=SPACE)
    best = best_of(search(graph.uri, {}, train, config, toy.storage), toy.storage)
    over.set()
    assassin.join()
    states = Counter(trial["state"] for trial in best["trials"])
    assert 1 <= states["lost"] <= 2
    assert states["complete"] + states["pruned"] == 40
    retries = [trial for trial in best["trials"] if trial["retry_of"] is not None]
    assert len(retries) == states["lost"]
    for trial in retries:
        assert trial["overrides"] == best["trials"][trial["retry_of"]]["overrides"]
    assert best["dev_mrr"] == max(trial["dev_mrr"] for trial in best["trials"] if trial["state"] == "complete")
    api = tracking.client()
    runs = api.search_runs([tracking.experiment_id("mmkgc")], "tags.`mmkgc.step` = 'trial'")
    assert Counter(run.info.status for run in runs) == {"FINISHED": 40, "KILLED": states["lost"]}
    ends = {run.data.tags["trial"]: run.data.metrics.get("best_dev_mrr") for run in runs}
    complete = {str(trial["number"]): trial["dev_mrr"] for trial in best["trials"] if trial["state"] == "complete"}
    assert {number: value for number, value in ends.items() if value is not None} == complete


def test_trials_with_the_same_values_train_one_after_the_other(toy, tmp_path):
    """Also those of different searches: two processes would write one checkpoint."""
    at_work, most = [], []

    class Scheduler:
        def send(self, report):
            at_work.append(report)
            time.sleep(0.01)
            most.append(len(at_work))
            at_work.pop()

        def recv(self):
            return False

    graph = MMKG.load(toy.storage.fetch(toy.graph_uri)).graph
    job = Job(0, {"model.dimension": 4})
    folder = tmp_path / "search"
    arguments = (job, graph, {}, toy.train, folder, Scheduler())
    with ThreadPoolExecutor(2) as pool:
        outcomes = [each.result() for each in [pool.submit(_train, *arguments) for _ in range(2)]]
    assert outcomes[0] == outcomes[1]
    assert set(most) == {1}
    assert list(folder.iterdir()) == []


def _search(toy, config):
    search(*toy[:3], config, toy.storage)


def trials_in(journal):
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    return storage.get_all_trials(0) if storage.get_all_studies() else []


def test_a_killed_search_goes_on_where_it_was(toy):
    config = SearchConfig(trials=8, workers=2, space=SPACE, study="resumed")
    toy = toy._replace(train=toy.train.override({"epochs": 60}))
    first = multiprocessing.get_context("spawn").Process(target=_search, args=(toy, config))
    first.start()
    journal = Settings.from_env().scratch / "search" / "resumed" / "journal.log"
    while first.is_alive():
        time.sleep(0.3)
        if journal.exists() and sum(trial.state.is_finished() for trial in trials_in(journal)) >= 2:
            break
    os.kill(first.pid, signal.SIGKILL)
    first.join()
    assert len(trials_in(journal)) < 8
    best = best_of(search(*toy[:3], config, toy.storage), toy.storage)
    states = Counter(trial["state"] for trial in best["trials"])
    assert states["complete"] + states["pruned"] == 8
    assert states["lost"] == len([trial for trial in best["trials"] if trial["retry_of"] is not None]) >= 1


def test_conditions_speak_of_keys_above_or_of_the_recipe(toy):
    space = {
        "regularizer": {"values": [None, "n3"]},
        "model.dimension": {"low": 4, "high": 8, "integer": True, "when": {"regularizer": "n3"}},
        "optimizer.lr": {"values": [0.1], "when": {"optimizer.name": "adam"}},
        "optimizer.weight_decay": {"values": [0.1], "when": {"optimizer.name": "sgd"}},
    }
    study = optuna.create_study()
    parsed = SearchConfig(trials=1, space=space).space
    for wanted in (None, "n3"):
        study.enqueue_trial({"regularizer": wanted})
        chosen = suggest(study.ask(), parsed, toy.train)
        assert ("model.dimension" in chosen) == (wanted == "n3")
        assert chosen["optimizer.lr"] == 0.1
        assert "optimizer.weight_decay" not in chosen


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"optimizer.lrr": {"values": [1]}}, "the recipe has no 'train.optimizer.lrr' — did you mean 'lr'?"),
        ({"optimizer.lr": {"low": -1, "high": 1}}, "-1.0 cannot be tried: Input should be greater than 0"),
        ({"model.interaction": {"values": ["distmult", "distmul"]}}, "'distmul' cannot be tried"),
    ],
)
def test_a_space_that_training_refuses_is_refused_before_anything_runs(toy, space, message):
    with pytest.raises(UserError, match=re.escape(message)):
        search(*toy[:3], SearchConfig(trials=1, space=space), toy.storage)


def test_a_search_in_which_everything_fails_says_why(toy):
    space = {"optimizer.lr": {"values": [1e30]}}
    with pytest.raises(UserError, match=r"none of 1 trial finished — .*(loss is|not finite)"):
        search(*toy[:3], SearchConfig(trials=1, space=space), toy.storage)


def test_a_value_may_belong_to_a_part_that_another_value_names(toy):
    changed = toy.train.override({"regularizer": "n3", "regularizer.weight": 0.01})
    assert changed.regularizer == {"name": "n3", "weight": 0.01}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ({"values": [4, 8]}, {"values": [4, 8, 16]}, "4, 8"),
        ({"values": [4, 8]}, {"low": 4, "high": 8, "integer": True}, "4, 8"),
        ({"low": 4, "high": 64, "integer": True, "log": True}, {"low": 4, "high": 64, "integer": True}, "4 to 64, log"),
        ({"low": 4, "high": 8, "integer": True}, {"low": 4, "high": 64, "integer": True, "step": 4}, None),
        ({"values": [4, 8]}, {"values": [4, 8]}, None),
    ],
)
def test_a_study_is_not_joined_with_values_that_optuna_cannot_mix(before, after, told):
    study = optuna.create_study(study_name="mine")
    suggest(study.ask(), SearchConfig(space={"model.dimension": before}).space, TrainConfig())
    space = SearchConfig(space={"model.dimension": after}).space
    if told is None:
        check_study(study, space)
    else:
        with pytest.raises(
            UserError, match=f"the study 'mine' has trials with other values of it, {told}.*search.study"
        ):
            check_study(study, space)


@pytest.mark.parametrize(
    "change",
    [
        {"low": 1.5, "integer": True},
        {"step": 0.5, "integer": True},
        {"high": float("inf")},
        {"low": float("nan")},
    ],
)
def test_ranges_that_no_sampler_draws_from_are_refused(change):
    with pytest.raises(ValidationError):
        SearchConfig(space={"model.dimension": {"low": 1, "high": 8} | change})


@pytest.mark.parametrize("study", ["../../x", "a/b", "", "x" * 200])
def test_a_study_whose_name_is_no_folder_is_refused(study):
    with pytest.raises(ValidationError, match="a name"):
        SearchConfig(study=study)
