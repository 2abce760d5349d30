"""Damaged files: one of every kind that a run and a search leave in a home, emptied, cut, and with one bit changed.

    python tests/stress/damage.py [--short] [TRIES [SEED]]

After each, the next command that reads the file has to make it anew or to say in one sentence what is wrong. A model
that it makes has to be the same as before. By default every file is damaged in every way; TRIES draws as many of these.
Takes as long as a run for every try; the short form damages a file of every kind of a search at once, and the database.
"""

import random
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import Bench, ended, untold

from mmkgc.components.runtime import processes

DAMAGES = ("emptied", "cut", "one bit changed")
TRIALS = 2  # of a search: one of each worker
LOGS = ("logs", "mlartifacts")  # no command reads these


def damaged(data: bytes, how: str, luck: random.Random) -> bytes:
    """The bytes of a file after an accident."""
    place = luck.randrange(len(data)) if data else 0
    match how:
        case "emptied":
            return b""
        case "cut":
            return data[:place]
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if data else b"\0"


def kinds(home: Path) -> dict[str, list[Path]]:
    """Files by kind: by their path without digests and numbers."""
    found: dict[str, list[Path]] = {}
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home)
        if path.is_file() and inside.parts[0] not in LOGS:
            found.setdefault(re.sub(r"[0-9a-f]{8,}|\d+", "#", inside.as_posix()), []).append(path)
    return found


def readers(bench: Bench, kind: str) -> Iterator[subprocess.Popen[str]]:
    """The next commands that read a file of this kind."""
    if "search" in kind:
        yield bench.search(TRIALS)
        return
    yield bench.run()
    if kind.startswith("mlflow"):
        yield bench.start("complete", "c0", "borders")
    if kind.startswith("store/bundles"):
        yield bench.start("complete", "c0", "borders", "--bundle", *bench.home.glob("store/bundles/[!.]*"))
    if kind.startswith("store/features"):
        yield bench.start("features", "verify")


def judge(bench: Bench, kind: str, how: str, models: set[str]) -> None:
    """Run the next commands on a home with a damaged file, and note what is not as it should be."""
    problems: list[str] = []
    for process in readers(bench, kind):
        problems += untold(process, ended(process))
    other = {path.name for path in (bench.home / "store" / "bundles").glob("[!.]*")} - models
    problems += [f"another model: {other}"] if other else []
    bench.note(how, [f"{kind}: {problem}" for problem in problems])


def one_by_one(bench: Bench, whole: Path, models: set[str], tries: int, luck: random.Random) -> None:
    """Files in a fresh copy of the home each: every kind in every way, or as many of these as ``tries``."""
    each = [(kind, paths, how) for kind, paths in kinds(whole).items() for how in DAMAGES]
    for kind, paths, how in luck.sample(each, min(tries, len(each))):
        shutil.rmtree(bench.home)
        shutil.copytree(whole, bench.home, symlinks=True)
        path = bench.home / luck.choice(paths).relative_to(whole)
        path.write_bytes(damaged(path.read_bytes(), how, luck))
        judge(bench, kind, how, models)


def all_at_once(bench: Bench, luck: random.Random) -> None:
    """The short form: a file of every kind but the database, whose damage ends every command; then the database."""
    process = bench.search(TRIALS)
    err = ended(process)
    assert process.returncode == 0, err
    for kind, paths in kinds(bench.home).items():
        if not kind.startswith("mlflow"):
            path = luck.choice(paths)
            path.write_bytes(damaged(path.read_bytes(), luck.choice(DAMAGES), luck))
    judge(bench, "search", "a file of every kind at once", set())
    database = bench.home / "mlflow.db"
    database.write_bytes(database.read_bytes()[:5000])
    judge(bench, "search", "the database cut", set())


def main(tries: int = 1000, seed: int = 0, short: bool = False) -> int:
    """Try everything, and print how often it held."""
    luck = random.Random(seed)
    with processes.supervised(), tempfile.TemporaryDirectory() as folder:
        bench, whole = Bench(Path(folder), short), Path(folder) / "whole"
        if short:
            all_at_once(bench, luck)
            return bench.report()
        models = bench.finish()
        process = bench.search(TRIALS)
        assert "Traceback" not in ended(process)
        shutil.copytree(bench.home, whole, symlinks=True)
        one_by_one(bench, whole, models, tries, luck)
        return bench.report()


if __name__ == "__main__":
    short = "--short" in sys.argv
    sys.exit(main(*(int(word) for word in sys.argv[1:] if word.isdecimal()), short=short))
