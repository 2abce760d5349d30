"""Kills and signals at random moments: what is left, and does the next command go on?

    python tests/stress/kills.py [--short] [MOMENTS [SEED]]

Every command works in one home. After each signal no process of it may live, no temporary folder of it may lie there,
and no run of it may be open in MLflow, except after KILL, whose runs the next command closes once it opens its own. At
the end the run is let finish: no run at all may be open, and its model must be, bit for bit, that of a run that nobody
disturbed. Takes about fifteen seconds a moment; the short form signals a run and a search while they work.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench import Bench, ended, free_port

from mmkgc.components.runtime import processes

SIGNALS = {"TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT, "KILL": signal.SIGKILL}


def signalled(bench: Bench, what: str, process: subprocess.Popen[str], name: str, delay: float = 0) -> None:
    """Send a signal after a delay, and note what is not as it should be."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(delay)
    process.send_signal(SIGNALS[name])
    err = ended(process, 60)
    problems = bench.left()
    if name == "KILL":
        bench.note_killed()
    else:
        problems += bench.open_runs(but=bench.killed)
        problems += [f"Traceback after {delay:.1f} s:\n{err}"] if "Traceback" in err else []
    expected = {0, 128 + SIGNALS[name], -SIGNALS[name]}  # served well, ended by us, before a handler was there
    fine = process.returncode in expected or "Aborted!" in err  # click's word for Ctrl-C before anything began
    problems += [] if fine else [f"exit code {process.returncode}: {err[-300:]}"]
    bench.note(f"{what}, {name}", [f"after {delay:.1f} s {problem}" for problem in problems])


def kill_runs(bench: Bench, moments: int, luck: random.Random, undisturbed: set[str], seconds: float) -> None:
    """Signals within the first five seconds, and anywhere in a run of ``seconds``; then the run is let finish."""
    for moment in range(moments):
        for name in SIGNALS:
            late = moment % 2
            delay = luck.uniform(5, seconds) if late else luck.uniform(0, 5)
            signalled(bench, f"run, {'any moment' if late else 'first 5 s'}", bench.run(), name, delay)
    problems = [] if bench.finish() == undisturbed else ["another model than without kills"]
    bench.note("run, let finish after all kills", problems + bench.left() + bench.open_runs())


def kill_searches(bench: Bench, moments: int, luck: random.Random, seconds: float) -> None:
    """Signals anywhere in a search, which is then let finish."""
    for _ in range(moments):
        for name in SIGNALS:
            signalled(bench, "search", bench.search(), name, luck.uniform(0, seconds))
    process = bench.search()
    err = ended(process)
    problems = [] if process.returncode == 0 else [err[-300:]]
    bench.note("search, let finish after all kills", problems + bench.left() + bench.open_runs())


def kill_servers(bench: Bench, moments: int, luck: random.Random) -> None:
    """Signals while ``serve`` and ``ui`` start and while they work."""
    (bundle,) = (path for path in (bench.home / "store" / "bundles").iterdir() if path.name[0] != ".")
    for verb, arguments in {"serve": ("--bundle", bundle), "ui": ()}.items():
        for moment in range(moments):
            for name in SIGNALS:
                delay = luck.uniform(0, 12) if moment else 40.0
                process = bench.start(verb, *arguments, "--port", free_port())
                signalled(bench, verb, process, name, delay)


def signal_working(bench: Bench) -> None:
    """The short form: a kill, a signal in the run that goes on after it, and one in a search."""
    for name in ("KILL", "TERM"):  # after the second no run is open: it has closed the first one's
        process = bench.run()
        _wait_for(process, bench.home, "logs/*.log", "Executing task")
        signalled(bench, "run", process, name)
    process = bench.search()
    _wait_for(process, bench.home, "scratch/search/*/journal.log", '"op_code":4')  # the first trial begins
    signalled(bench, "search", process, "TERM")


def _wait_for(process: subprocess.Popen[str], home: Path, files: str, words: str) -> None:
    """Wait until a new line of the command's files has these words."""

    def count() -> int:
        return sum(file.read_text().count(words) for file in home.glob(files))

    before = count()
    while count() == before:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)


def main(moments: int = 4, seed: int = 0) -> int:
    """Try everything, and print how often it held."""
    luck = random.Random(seed)
    with processes.supervised(), tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), short=not moments)
        if not moments:
            signal_working(bench)
            return bench.report()
        begun = time.monotonic()
        undisturbed = bench.finish(Path(folder) / "undisturbed")
        seconds = time.monotonic() - begun
        kill_runs(bench, moments, luck, undisturbed, seconds)
        kill_searches(bench, max(1, moments // 2), luck, seconds)
        kill_servers(bench, max(1, moments // 2), luck)
        return bench.report()


if __name__ == "__main__":
    sys.exit(main(0) if "--short" in sys.argv else main(*map(int, sys.argv[1:])))
