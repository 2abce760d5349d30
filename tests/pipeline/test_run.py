"""The whole pipeline as a user runs it: real kfp, real MLflow, real TorchServe, on a graph of sixteen entities."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

QUICK = ("train.epochs=4", "train.evaluate_every=2", "train.model.dimension=8", "evaluate.bootstrap=100")
SETTINGS = [part for setting in QUICK for part in ("--set", setting)]


def mmkgc(home, *arguments, **environment):
    """Run the command line in a process of its own."""
    command = [sys.executable, "-c", "from mmkgc.pipeline.cli import main; main()", *map(str, arguments)]
    env = _environment(home) | environment
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=500)


def _environment(home):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "MMKGC_"))}
    return env | {"MMKGC_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def dataset(write_dataset, tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "places")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def first_run(home, dataset):
    result = mmkgc(home, "run", dataset, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return result


def states(result):
    """Step and state of each line of a run: ✓ done, = from the cache, ✗ failed."""
    return {step: mark for mark, step in re.findall(r"^([✓=✗]) \d/\d (\w+(?: \w+)?)", result.stderr, re.MULTILINE)}


def test_a_run_shows_a_line_a_step_metrics_and_the_answers_of_torchserve(first_run):
    assert states(first_run) == dict.fromkeys(
        ["ingest", "extract textual", "extract visual", "train", "evaluate", "register", "package"], "✓"
    )
    assert "relation popularity" in first_run.stdout
    assert "TorchServe is up" in first_run.stdout
    assert first_run.stdout.count("✓ the fact that was held out") == 5
    assert "nearest text" in first_run.stdout
    assert "TorchServe stopped." in first_run.stdout
    assert "places: 16 entities, 2 relations" in first_run.stderr.splitlines()[0]
    assert re.search(r"^verdict: .* \(test MRR ", first_run.stdout, re.MULTILINE)
    (ask,) = re.findall(r"^ask it +mmkgc (complete --name places .+)$", first_run.stdout, re.MULTILINE)
    assert len(shlex.split(ask)) == 5, "a head and a relation of the graph, not words in their place"


def test_a_second_run_takes_unchanged_steps_from_the_cache(first_run, home, dataset):
    again = mmkgc(home, "run", dataset, "--no-serve", *SETTINGS)
    assert again.returncode == 0, again.stderr
    cached = {step for step, mark in states(again).items() if mark == "="}
    assert cached == {"ingest", "extract textual", "extract visual", "train", "package"}


def test_a_run_may_take_an_increment_and_end_with_proposals(dataset, tmp_path):
    (tmp_path / "accepted").mkdir()
    (tmp_path / "accepted" / "triples.tsv").write_text("t0\tborders\tt1\n")
    more = ["propose.enabled=true", "extract={visual: null, textual: null}", f"ingest.increments=[{tmp_path}/accepted]"]
    settings = [*SETTINGS, *(part for setting in more for part in ("--set", setting))]
    result = mmkgc(tmp_path / "home", "run", dataset, "--no-serve", *settings)
    assert result.returncode == 0, result.stderr
    assert "1 accepted triple joins train" in result.stderr
    assert states(result)["propose"] == "✓"
    (summary,) = (tmp_path / "home").glob("store/proposals/*/summary.json")
    assert json.loads(summary.read_text())["model"] == "places"


def test_a_changed_setting_redoes_what_depends_on_it(first_run, home, dataset):
    changed = mmkgc(home, "run", dataset, "--no-serve", *SETTINGS, "--set", "train.seed=1")
    assert changed.returncode == 0, changed.stderr
    redone = {step for step, mark in states(changed).items() if mark == "✓"}
    assert redone == {"train", "evaluate", "register", "package"}


def test_runs_nest_in_mlflow_and_the_champion_is_registered(first_run, home, monkeypatch):
    monkeypatch.setenv("MMKGC_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    from mmkgc.components.runtime import tracking

    api = tracking.client()
    experiment = api.get_experiment_by_name("places")
    runs = api.search_runs([experiment.experiment_id], max_results=100)
    parents = [run for run in runs if tracking.PARENT_TAG not in run.data.tags]
    oldest = min(parents, key=lambda run: run.info.start_time)
    steps = {run.info.run_name for run in runs if run.data.tags.get(tracking.PARENT_TAG) == oldest.info.run_id}
    assert {"ingest", "train", "evaluate", "register"} <= steps
    assert oldest.data.params["train.epochs"] == "4"
    assert 0 < oldest.data.metrics["test/mrr"] <= 1
    assert all(run.info.status == "FINISHED" for run in runs)


def test_a_refused_dataset_ends_with_one_sentence_and_code_2(home, write_dataset, tmp_path):
    folder = write_dataset(tmp_path / "broken")
    (folder / "train.tsv").write_text((folder / "train.tsv").read_text() + "c0\tborders\tnowhere\n")
    result = mmkgc(home, "run", folder, "--no-serve", *SETTINGS)
    assert result.returncode == 2
    assert states(result) == {}
    message = result.stderr.splitlines()[-1]
    assert "train.tsv, line" in message
    assert "'nowhere'" in message
    assert "Traceback" not in result.stderr


def test_a_step_that_breaks_shows_its_cause_and_the_log(first_run, home, dataset):
    broken = {"MMKGC_STORAGE": str(home / "mlflow.db" / "store")}  # a folder below a file cannot be made
    result = mmkgc(home, "run", dataset, "--no-serve", *SETTINGS, **broken)
    assert result.returncode == 1
    assert "a file is where a folder has to be" in result.stderr
    assert "Traceback" not in result.stderr
    assert re.search(r"the whole log: \S+\.log", result.stderr)


def test_a_changed_artifact_is_made_anew(first_run, home, dataset):
    (archive,) = [path for path in (home / "store" / "graphs").iterdir() if path.is_dir()]
    (archive / "graph.json").write_text("{}")
    repaired = mmkgc(home, "run", dataset, "--no-serve", *SETTINGS)
    assert repaired.returncode == 0, repaired.stderr
    assert states(repaired)["ingest"] == "✓"


@pytest.mark.timeout(900)  # three pipelines, three minutes on a slow machine that does nothing else
def test_a_run_killed_in_training_resumes_and_ends_with_the_same_metrics(write_dataset, tmp_path):
    folder = write_dataset(tmp_path / "places")
    (folder / "literals.tsv").write_text("key\tattribute\tvalue\nc0\tarea\t1\nc1\tarea\t2\n")
    long = ["train.epochs=100", "train.patience=null", "train.evaluate_every=50", "train.checkpoint_seconds=0"]
    long += ["extract={visual: null, textual: null, numeric: {encoder: literals}}"]  # no encoder has to be loaded
    arguments = ["run", folder, "--no-serve", *SETTINGS, *(part for setting in long for part in ("--set", setting))]
    undisturbed = mmkgc(tmp_path / "undisturbed", *arguments)
    assert undisturbed.returncode == 0, undisturbed.stderr
    home = tmp_path / "killed"
    _kill_during_training(home, arguments)
    resumed = mmkgc(home, *arguments)
    assert resumed.returncode == 0, resumed.stderr
    assert "resumes after epoch" in "".join(log.read_text() for log in (home / "logs").iterdir())
    assert _metrics(home) == _metrics(tmp_path / "undisturbed")


def _kill_during_training(home: Path, arguments: list) -> None:
    command = [sys.executable, "-c", "from mmkgc.pipeline.cli import main; main()", *map(str, arguments)]
    quiet = {"start_new_session": True, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=_environment(home), **quiet) as process:
        deadline = time.monotonic() + 400
        while not list(home.glob("scratch/train/*/checkpoint.pt")):
            assert process.poll() is None, "the run ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)


def _metrics(home: Path) -> dict:
    (metrics,) = home.glob("store/evaluations/*/metrics.json")
    return json.loads(metrics.read_text())
