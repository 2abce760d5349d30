"""The study in a real PostgreSQL: two schedulers, as two pods of a cluster, join it."""

import multiprocessing
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from components.runtime.files import read_json
from components.search.config import SearchConfig
from components.search.search import search

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


def _search(toy, config, place):
    search(*toy[:3], config, toy.storage, scratch=place)


def test_two_machines_share_one_study(toy, postgresql, tmp_path):
    space = {"optimizer.lr": {"low": 0.001, "high": 0.3, "log": True}}
    config = SearchConfig(trials=10, workers=1, space=space, storage=postgresql, study="shared")
    search(*toy[:3], config.model_copy(update={"trials": 1}), toy.storage)  # the parent creates the study
    context = multiprocessing.get_context("fork")
    pods = [context.Process(target=_search, args=(toy, config, tmp_path / str(index))) for index in range(2)]
    for pod in pods:
        pod.start()
    for pod in pods:
        pod.join()
        assert pod.exitcode == 0
    best = read_json(toy.storage.fetch(search(*toy[:3], config, toy.storage).uri) / "best.json")
    states = Counter(trial["state"] for trial in best["trials"])
    assert 10 <= states["complete"] + states["pruned"] <= 11  # the last trial may be begun by both at once
    assert states["lost"] == 0
    assert best["dev_mrr"] == max(trial["dev_mrr"] for trial in best["trials"] if trial["state"] == "complete")
