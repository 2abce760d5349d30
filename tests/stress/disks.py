"""A disk that is full at each step, and folders that are read-only at each step.

    python tests/stress/disks.py [--short]

The home lies on a small tmpfs. Whenever the run ends because it is full, it grows by a third, and the same command goes
on, until it succeeds: with the model of a run that had room enough. Then each folder of the home is mounted read-only
while a run on other data wants to write there. Both need the right to mount (root); the script mounts in a namespace of
its own, which no other process sees. Where mounting is refused, files are limited in size instead (RLIMIT_FSIZE), which
gives the same kind of error. Takes as long as a run for every try; the short form tries one size and the whole home.
"""

import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import Bench, ended, untold

from mmkgc.components.runtime import processes

MOUNTS = "--mounts"  # given to the script that has its own namespace
FIRST_KILOBYTES, GROWTH, MOST = 200, 4 / 3, 25
ROOM_KILOBYTES = 200_000
LIMITS_KILOBYTES = (50, 400, 1000)  # of a file's size


def mount(*arguments: object) -> None:
    """Call ``mount``."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


def fill(bench: Bench, tries: int) -> None:
    """A run on a disk that is full, and grows whenever it has ended for that reason."""
    size = FIRST_KILOBYTES
    bench.home.mkdir()
    mount("-t", "tmpfs", "-o", f"size={size}k", "tmpfs", bench.home)
    for _ in range(tries):
        process = bench.run()
        err = ended(process)
        if process.returncode == 0:
            break
        named = "No space left" in err or "disk is full" in err
        step = re.search(r"step '([\w ]+)'|^mmkgc: (\w+): ", err, re.MULTILINE)
        problems = untold(process, err) or ([] if named else [err[-300:]])
        bench.note(f"disk full, {(step[1] or step[2]) if step else 'before the first step'}", problems)
        size = int(size * GROWTH)
        mount("-o", f"remount,size={size}k", bench.home)
    mount("-o", f"remount,size={ROOM_KILOBYTES}k", bench.home)


def limit_files(bench: Bench, tries: int) -> None:
    """Where mounting is refused: runs whose files may not grow beyond a size."""
    for size in LIMITS_KILOBYTES[:tries]:
        with limited(size * 1000):
            process = bench.run()
        bench.note(f"files of {size} kB at most", untold(process, ended(process)))


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Processes started here write no file beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def forbid(bench: Bench, tries: int) -> None:
    """A run on other data while one folder of the home is read-only."""
    inside = sorted([*bench.home.glob("[!.]*/"), *bench.home.glob("store/[!.]*/")])
    for number, folder in enumerate([bench.home, *inside][:tries]):
        (bench.data / "dataset.yaml").write_text(f"source: change {number}\n")
        mount("--bind", folder, folder)
        mount("-o", "remount,bind,ro", folder)
        process = bench.run("--set", f"train.seed={number + 1}")
        err = ended(process)
        subprocess.run(["umount", folder], check=True)
        bench.note(f"read-only: {folder.relative_to(bench.home.parent)}", untold(process, err))


def main(mounts: bool, short: bool) -> int:
    """Try everything, and print how often it held."""
    with processes.supervised(), tempfile.TemporaryDirectory() as folder:
        bench, tries = Bench(Path(folder), short), 1 if short else MOST
        if mounts:
            fill(bench, tries)
        else:
            print("mounting is refused here: files are limited in size instead")
            limit_files(bench, tries)
        if not short:
            same = bench.finish() == bench.finish(Path(folder) / "undisturbed")
            bench.note("run, when there is room again", [] if same else ["another model than with room from the first"])
        if mounts:
            forbid(bench, tries)
            subprocess.run(["umount", bench.home], check=True)
        return bench.report()


def may_mount() -> bool:
    """Whether this user may mount in a namespace of its own."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    return bool(shutil.which("unshare")) and subprocess.run(probe, capture_output=True).returncode == 0


if __name__ == "__main__":
    if MOUNTS not in sys.argv and may_mount():
        sys.exit(subprocess.call(["unshare", "--mount", sys.executable, *sys.argv, MOUNTS]))
    sys.exit(main(MOUNTS in sys.argv, "--short" in sys.argv))
