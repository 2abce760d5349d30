"""The study in a real PostgreSQL: three schedulers, as pods of a cluster, join it, and a fourth reads the best."""

import multiprocessing
from collections import Counter
from collections.abc import Iterator

import pytest

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.files import read_json
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.search import search
from tests.services.postgresql import postgresql as server

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.slow]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a server of its own."""
    with server() as started:
        yield started.url


def _search(toy, config, place, worker):
    search(*toy[:3], config, toy.storage, scratch=place, worker=worker)


def test_workers_share_one_study_and_the_task_after_them_reads_the_best(toy, postgresql, tmp_path):
    space = {"optimizer.lr": {"low": 0.001, "high": 0.3, "log": True}}
    config = SearchConfig(trials=10, workers=1, space=space, storage=postgresql)
    context = multiprocessing.get_context("spawn")
    pods = [context.Process(target=_search, args=(toy, config, tmp_path / str(n), n)) for n in (1, 2, 3)]
    for pod in pods:  # the tables are not there yet: whoever comes first makes them
        pod.start()
    for pod in pods:
        pod.join()
        assert pod.exitcode == 0
    before = {run.info.run_id for run in _trial_runs()}
    best = read_json(toy.storage.fetch(search(*toy[:3], config, toy.storage).uri) / "best.json")
    assert {run.info.run_id for run in _trial_runs()} == before, "all trials had ended when the workers did"
    states = Counter(trial["state"] for trial in best["trials"])
    assert 10 <= states["complete"] + states["pruned"] <= 12  # the last trial may be begun by all at once
    assert states["lost"] == 0
    assert best["dev_mrr"] == max(trial["dev_mrr"] for trial in best["trials"] if trial["state"] == "complete")
    drawn = [trial["overrides"]["optimizer.lr"] for trial in best["trials"]]
    assert len(set(drawn)) == len(drawn), "every worker draws trials of its own"


def _trial_runs():
    return tracking.client().search_runs([tracking.experiment_id("mmkgc")], "tags.`mmkgc.step` = 'trial'")
