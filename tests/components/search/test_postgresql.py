"""The study in a real PostgreSQL: three schedulers, as pods of a cluster, join it, and a fourth reads the best."""

import multiprocessing
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mmkgc.components.runtime import tracking
from mmkgc.components.runtime.files import read_json
from mmkgc.components.search.config import SearchConfig
from mmkgc.components.search.search import search

pytestmark = [pytest.mark.service("postgresql"), pytest.mark.slow]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """URL of a server of its own, on a Unix socket; as root it runs as ``postgres``, since PostgreSQL refuses root."""
    places = [Path("/usr/lib/postgresql"), *map(Path, os.environ["PATH"].split(":"))]
    binaries = next((path.parent for place in places for path in sorted(place.rglob("initdb"))), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    with TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        if user:
            shutil.chown(folder, "postgres")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, **user}
        subprocess.run([binaries / "initdb", "-D", data, "-U", "mmkgc", "-A", "trust"], **quiet)
        server = [binaries / "pg_ctl", "-D", data, "-w"]
        subprocess.run([*server, "-o", f"-k {folder} -h ''", "-l", Path(folder) / "log", "start"], **quiet)
        try:
            yield f"postgresql+psycopg://mmkgc@/postgres?host={folder}"
        finally:
            subprocess.run([*server, "-m", "immediate", "stop"], **quiet)


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
