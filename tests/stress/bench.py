"""Commands that are disturbed in a home of their own, and the table of what was tried and what held.

Used by the scripts beside it. Every command runs in a process of its own, on a dataset of sixteen entities.
"""

import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Collection
from contextlib import closing, suppress
from pathlib import Path

import psutil

from mmkgc.components.runtime import processes

EPOCHS, SHORT_EPOCHS = 300, 60  # a training of seconds, which a signal at a random moment may hit; of the short forms
QUICK = ("train.patience=null", "train.checkpoint_seconds=0")
SMALL = ("extract.visual=null", "extract.textual=null", "train.model.dimension=8", "evaluate.bootstrap=100")
SPACE = ("search.space={optimizer.lr: {low: 0.001, high: 0.1, log: true}}",)
SETTLE_SECONDS = 15.0


class Bench:
    """A home, a dataset and a temporary folder of their own, and the table of what was tried and what held."""

    def __init__(self, folder: Path, short: bool = False) -> None:
        epochs = SHORT_EPOCHS if short else EPOCHS
        self.quick = (f"train.epochs={epochs}", f"train.evaluate_every={epochs // 6}", *QUICK)
        self.home, self.data, self.temporary = folder / "home", folder / "places", folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.tried: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.killed: set[str] = set()
        write_dataset(self.data)

    def start(self, *arguments: object, home: Path | None = None) -> subprocess.Popen[str]:
        """The command line in a process of its own, which a terminal would not signal."""
        own = {"MMKGC_HOME": str(home or self.home), "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"}
        foreign = [name for name in os.environ if name.startswith(("MLFLOW_", "MMKGC_")) and name != processes.MARK]
        environment = {name: value for name, value in os.environ.items() if name not in foreign}
        command = [sys.executable, "-c", "from mmkgc.pipeline.cli import main; main()", *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=environment | own, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def run(self, *options: str, home: Path | None = None) -> subprocess.Popen[str]:
        """``mmkgc run`` on the dataset."""
        return self.start("run", self.data, "--no-serve", *options, *_settings(*self.quick, *SMALL), home=home)

    def search(self, trials: int = 4, home: Path | None = None) -> subprocess.Popen[str]:
        """``mmkgc search`` on the dataset, by two workers."""
        options = ("--trials", str(trials), "--workers", "2")
        return self.start("search", self.data, *options, *_settings(*self.quick, *SMALL, *SPACE), home=home)

    def finish(self, home: Path | None = None) -> set[str]:
        """Let a run end by itself; the digests of its bundles."""
        process = self.run(home=home)
        _, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        return {path.name for path in ((home or self.home) / "store" / "bundles").iterdir() if path.name[0] != "."}

    def note(self, what: str, problems: list[str]) -> None:
        """Count a try; problems are printed as they are found."""
        self.tried[what] += 1
        self.held[what] += not problems
        for problem in problems:
            print(f"{what}: {problem}", flush=True)

    def left(self) -> list[str]:
        """What lives or lies about although no command runs, after a moment in which a guard may tidy up."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (found := self._left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def _left(self) -> list[str]:
        found = [f"left {path}" for path in self.temporary.glob("*") if path.name.startswith(("mmkgc", "tmp"))]
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR", "").startswith(str(self.temporary)):
                    found.append(f"still runs: {process.pid} {' '.join(process.cmdline())[:100]}")
        return found

    def open_runs(self, home: Path | None = None, but: Collection[str] = ()) -> list[str]:
        """Runs that MLflow takes for running, without those that are known to have been left open before."""
        return [f"the run '{name}' is open in MLflow" for run, name in self._open(home).items() if run not in but]

    def note_killed(self) -> None:
        """A killed command leaves its runs open; a later one closes them as soon as it opens its own."""
        self.killed = set(self._open())

    def _open(self, home: Path | None = None) -> dict[str, str]:
        import sqlite3

        file = (home or self.home) / "mlflow.db"
        if not file.exists():
            return {}
        with closing(sqlite3.connect(file, timeout=60)) as database:
            return dict(database.execute("SELECT run_uuid, name FROM runs WHERE status = 'RUNNING'"))

    def report(self) -> int:
        """Print how often everything was tried and held; the exit code of a script."""
        width = max(map(len, self.tried))
        print(f"\n{'what':<{width}}{'tried':>7}{'held':>6}")
        for what, tried in self.tried.items():
            print(f"{what:<{width}}{tried:>7}{self.held[what]:>6}")
        return 0 if self.tried == self.held else 1


def ended(process: subprocess.Popen[str], seconds: float = 300) -> str:
    """What a process wrote to stderr until its end, which is forced after so many seconds."""
    try:
        return process.communicate(timeout=seconds)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return f"Traceback: it did not end within {seconds:.0f} s"


def untold(process: subprocess.Popen[str], err: str) -> list[str]:
    """Problems of an ended command, which has to succeed, or to say in one sentence why it does not."""
    told = [line for line in err.splitlines() if line.startswith("mmkgc: ")]
    fine = process.returncode == 0 or (process.returncode in (1, 2) and len(told) == 1)
    if fine and "Traceback" not in err and "should not happen" not in err:
        return []
    return [f"exit code {process.returncode}: {err[-600:]}"]


def write_dataset(folder: Path) -> None:
    """Sixteen entities: countries that border each other, and a city in each."""
    folder.mkdir(parents=True)
    entities = [f"{kind}{number}" for kind in "ct" for number in range(8)]
    (folder / "entities.tsv").write_text("key\tname\n" + "".join(f"{key}\tPlace {key}\n" for key in entities))
    (folder / "relations.tsv").write_text("key\tname\nborders\tborders\nin\tlies in\n")
    borders = [(f"c{i}", "borders", f"c{j}") for i in range(8) for j in range(8) if i != j]
    splits = {"test": borders[::9], "valid": borders[1::9]}
    rest = [triple for triple in borders if triple not in splits["test"] + splits["valid"]]
    splits["train"] = [(f"t{i}", "in", f"c{i}") for i in range(8)] + rest
    for split, triples in splits.items():
        lines = ["head\trelation\ttail", *("\t".join(triple) for triple in triples)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _settings(*settings: str) -> list[str]:
    return [part for setting in settings for part in ("--set", setting)]
