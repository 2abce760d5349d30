"""Runs the pipeline locally: the same DAG as on a cluster, in child processes, with files and an embedded MLflow."""

import json
import logging
import os
import re
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from mmkgc.components.ingest import increments
from mmkgc.components.ingest.source import fingerprint
from mmkgc.components.runtime import digests, pipeline_run, tracking
from mmkgc.components.runtime.environment import environment
from mmkgc.components.runtime.files import set_aside
from mmkgc.components.runtime.quoting import masked
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.train.forecast import MEASURED
from mmkgc.feature_store.catalog import repair
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import dag
from mmkgc.pipeline.config import Recipe
from mmkgc.pipeline.runners.display import Display
from mmkgc.pipeline.runners.failure import failure
from mmkgc.pipeline.runners.step_process import StepServer


class Finished(NamedTuple):
    """A run that has ended well: URIs of the pipeline's outputs by name, and the id of its MLflow run."""

    outputs: dict[str, str]
    run_id: str


def run(recipe: Recipe, cache: bool = True, server: StepServer | None = None, command: str = "") -> Finished:
    """Run every step. Extraction is not divided: its workers use the machine's cores already.

    ``server`` starts the steps and is closed at their end; without one, it is started here. ``command``: the one that
    runs this recipe, if there is one, a tag of MLflow's run. Raises UserError if the input of a step is
    invalid, StepFailed for other errors.
    """
    settings = Settings.from_env()
    recipe = recipe.model_copy(update={"extract": recipe.extract.undivided()})
    open_storage().reach()
    data = fingerprint(recipe.dataset) + increments.fingerprint(recipe.ingest.increments)
    log = settings.home / "logs" / f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    code = digests.of_code()
    tags = {"mmkgc.code": code, "mmkgc.dataset": recipe.dataset, "mmkgc.seed_group": recipe.seed_group}
    tags |= pipeline_run.source(f"mmkgc run {recipe.name}", "LOCAL") | pipeline_run.commit()
    tags |= {pipeline_run.COMMAND_TAG: command} if command else {}
    with server or StepServer() as process, tracking.start_run(recipe.name, recipe.title, tags) as parent:
        parent.log_params(recipe.compared)
        with (
            TemporaryDirectory() as folder,
            log.open("w", encoding="utf-8", buffering=1) as file,
            Display(dag.steps(recipe), Path(folder)) as display,
            environment(_inherited(parent.id, display.progress_file)),
            _quiet(Follower(file, display)),
        ):
            outputs = _run_kfp(recipe, data, code, settings.home, cache, process)
        if outputs is None:
            raise failure(display.current, log, process.code, process.peak)
    return Finished(outputs, parent.id)


def _run_kfp(
    recipe: Recipe, data: str, code: str, home: Path, cache: bool, process: StepServer
) -> dict[str, str] | None:
    from kfp import local
    from kfp.local import subprocess_task_handler

    subprocess_task_handler.run_local_subprocess = process
    root, cache_root = home / "kfp", home / "kfp-cache"
    forget_changed_outputs(cache_root)
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner, pipeline_root=str(root), raise_on_error=False, enable_caching=cache, cache_root=str(cache_root))
    outputs = dag.build(recipe)(data=data, code=code).outputs
    return {name: artifact.uri for name, artifact in outputs.items()} or None


def forget_changed_outputs(cache_root: Path) -> None:
    """Remove damaged cache entries, and those whose stored output is missing or does not match its digest."""
    for entry in cache_root.glob("*.json"):
        try:
            uris = [value["uri"] for value in json.loads(entry.read_text()).values() if isinstance(value, dict)]
            whole = all(_intact(Path(uri)) for uri in uris if uri.startswith("/"))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            set_aside(entry, f"no cache entry: {type(error).__name__}", "the step runs again")
            continue
        if not whole:
            entry.unlink()


def _intact(stored: Path) -> bool:
    """Whether a folder matches the digest in its name, or the files of a feature manifest match theirs."""
    if stored.is_file():
        return repair(str(stored), open_storage())
    return stored.is_dir() and digests.of_folder(stored) == stored.name


def _inherited(run_id: str, progress_file: Path) -> dict[str, str]:
    """Variables of the steps' processes: the MLflow parent run and the progress file."""
    settings = Settings.from_env()
    return {
        "MLFLOW_RUN_ID": run_id,
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "MMKGC_HOME": str(settings.home),
        "MMKGC_PROGRESS": str(progress_file),
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def _quiet(follower: "Follower") -> Iterator[None]:
    """Redirect the output of kfp and of the steps to the follower."""
    handler = logging.StreamHandler(follower)
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.handlers, root.level = [handler], logging.INFO
    try:
        with redirect_stdout(follower), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.handlers, root.level = handlers, level


class Follower:
    """A text stream that writes the log file and updates the display when a step begins, ends, or is cached.

    The training says after its first batches how long it takes, which is displayed too.
    """

    EVENTS = (
        (re.compile(r"Executing task .*?'([\w-]+)'"), "begin"),
        (re.compile(r"Task ([\w-]+) cache hit"), "cached"),
        (re.compile(r"Task .*?'([\w-]+)'.* finished with status .*SUCCESS"), "succeed"),
        (re.compile(r"Task .*?'([\w-]+)'.* finished with status .*FAILURE"), "fail"),
    )

    def __init__(self, file: Any, display: Display) -> None:
        self.file, self.display, self.rest = file, display, ""
        self.steps = {dag.task_name(step): step for step in display.steps}

    def write(self, text: str) -> int:
        """Write a part of the output; only complete lines are processed."""
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.file.write(masked(line) + "\n")
            for pattern, event in self.EVENTS:
                if found := pattern.search(line):
                    getattr(self.display, event)(self.steps.get(found[1], found[1]))
            if (place := line.find(MEASURED)) >= 0:
                self.display.tell(line[place:])
        return len(text)

    def flush(self) -> None:
        """Do nothing, since the file is line-buffered."""

    def isatty(self) -> bool:
        """Return False, so that no colours or progress bars are written."""
        return False
