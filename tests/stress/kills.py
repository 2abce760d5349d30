"""Kills and signals at random moments: what is left, and does the next command go on? ``kills.py [MOMENTS [SEED]]``

Every command works in one home. After each signal no process of it may live, no temporary folder of it may lie there,
and (but after KILL, where the next command does it) no run may be open in MLflow. At the end the run is let finish: its
model must be, bit for bit, that of a run that nobody disturbed. Takes about fifteen seconds a moment.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path

import psutil

from mmkgc.components.runtime import processes

QUICK = ("train.epochs=300", "train.evaluate_every=50", "train.patience=null", "train.checkpoint_seconds=0")
SMALL = ("extract.visual=null", "extract.textual=null", "train.model.dimension=8", "evaluate.bootstrap=100")
SETTINGS = [part for setting in (*QUICK, *SMALL) for part in ("--set", setting)]
SIGNALS = {"TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT, "KILL": signal.SIGKILL}
SETTLE_SECONDS = 15.0


class Bench:
    """A home, a dataset and a temporary folder of their own, and the table of what was tried and what held."""

    def __init__(self, folder: Path) -> None:
        self.home, self.data, self.temporary = folder / "home", folder / "places", folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.tried: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
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

    def run(self, home: Path | None = None) -> subprocess.Popen[str]:
        """``mmkgc run`` on the dataset."""
        return self.start("run", self.data, "--no-serve", *SETTINGS, home=home)

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

    def open_runs(self) -> list[str]:
        """Runs that MLflow takes for running."""
        import sqlite3

        if not (self.home / "mlflow.db").exists():
            return []
        with closing(sqlite3.connect(self.home / "mlflow.db", timeout=60)) as database:
            rows = database.execute("SELECT name FROM runs WHERE status = 'RUNNING'").fetchall()
        return [f"the run '{name}' is open in MLflow" for (name,) in rows]

    def signalled(self, what: str, process: subprocess.Popen[str], name: str, delay: float) -> None:
        """Send a signal after a delay, and note what is not as it should be."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.send_signal(SIGNALS[name])
        err = _communicate(process)
        problems = self.left()
        if name != "KILL":
            problems += self.open_runs()
            problems += [f"Traceback after {delay:.1f} s:\n{err}"] if "Traceback" in err else []
        expected = {0, 128 + SIGNALS[name], -SIGNALS[name]}  # served well, ended by us, before a handler was there
        fine = process.returncode in expected or "Aborted!" in err  # click's word for Ctrl-C before anything began
        problems += [] if fine else [f"exit code {process.returncode}: {err[-300:]}"]
        self.note(f"{what}, {name}", [f"after {delay:.1f} s {problem}" for problem in problems])


def _communicate(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return "did not end within 60 s"


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


def finish(bench: Bench, home: Path | None = None) -> set[str]:
    """Let a run end by itself; the digests of its bundles."""
    process = bench.run(home)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    return {path.name for path in ((home or bench.home) / "store" / "bundles").iterdir() if path.name[0] != "."}


def kill_runs(bench: Bench, moments: int, luck: random.Random, undisturbed: set[str], seconds: float) -> None:
    """Signals within the first five seconds, and anywhere in a run of ``seconds``; then the run is let finish."""
    for moment in range(moments):
        for name in SIGNALS:
            late = moment % 2
            delay = luck.uniform(5, seconds) if late else luck.uniform(0, 5)
            bench.signalled(f"run, {'any moment' if late else 'first 5 s'}", bench.run(), name, delay)
    problems = [] if finish(bench) == undisturbed else ["another model than without kills"]
    bench.note("run, let finish after all kills", problems + bench.left() + bench.open_runs())


def kill_servers(bench: Bench, moments: int, luck: random.Random) -> None:
    """Signals while ``serve`` and ``ui`` start and while they work."""
    (bundle,) = (path for path in (bench.home / "store" / "bundles").iterdir() if path.name[0] != ".")
    for verb, arguments in {"serve": ("--bundle", bundle), "ui": ()}.items():
        for moment in range(moments):
            for name in SIGNALS:
                delay = luck.uniform(0, 12) if moment else 40.0
                process = bench.start(verb, *arguments, "--port", free_port())
                bench.signalled(verb, process, name, delay)


def damage_files(bench: Bench, luck: random.Random) -> None:
    """One file of every kind that a run leaves, emptied, cut or with one bit changed; the next run makes it anew."""
    kinds: dict[tuple[str, ...], list[Path]] = {}
    for path in [*bench.home.glob("kfp-cache/*.json"), *bench.home.glob("store/*/*/*")]:
        parts = path.relative_to(bench.home).parts
        kinds.setdefault((*parts[:2], path.suffix if parts[0] == "kfp-cache" else path.name), []).append(path)
    for paths in kinds.values():
        path = luck.choice(paths)
        if not path.is_file():
            continue
        data = path.read_bytes()
        place = luck.randrange(len(data) + 1)
        flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if place < len(data) else b""
        name, damaged = luck.choice([("emptied", b""), ("cut", data[:place]), ("one bit changed", flipped)])
        path.write_bytes(damaged)
        process = bench.run()
        _, err = process.communicate(timeout=600)
        where = path.relative_to(bench.home)
        bench.note("run after a file was damaged", [f"{where} {name}: {err[-300:]}"] if process.returncode else [])


def free_port() -> int:
    """A port that nobody listens on just now."""
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start_together(bench: Bench, homes: int, folder: Path) -> None:
    """Two first commands in one home."""
    for number in range(homes):
        home = folder / f"pair-{number}"
        pair = [bench.run(home) for _ in range(2)]
        ends = [process.communicate(timeout=600)[1] for process in pair]
        said = [end[-300:] for end, process in zip(ends, pair, strict=True) if process.returncode]
        # one may be told that the other trains this very model; nothing else is an answer
        bench.note("two first commands at once", [end for end in said if "is at it" not in end])


def main(moments: int = 4, seed: int = 0) -> None:
    """Try everything, and print how often it held."""
    luck = random.Random(seed)
    with processes.supervised(), tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        begun = time.monotonic()
        undisturbed = finish(bench, Path(folder) / "undisturbed")
        kill_runs(bench, moments, luck, undisturbed, time.monotonic() - begun)
        damage_files(bench, luck)
        kill_servers(bench, max(1, moments // 2), luck)
        start_together(bench, max(1, moments // 2), Path(folder))
        print(f"\n{'what':<40}{'tried':>6}{'held':>6}")
        for what, tried in bench.tried.items():
            print(f"{what:<40}{tried:>6}{bench.held[what]:>6}")
        sys.exit(0 if bench.tried == bench.held else 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
