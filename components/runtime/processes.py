"""Supervision of child processes: every process that a command starts ends with the command.

A command marks its child processes through an environment variable, which all descendants inherit, even in another
process group or session. The signals INT, TERM and HUP raise an exception in the command. A guard, a small process in
its own session, waits on a pipe for the end of the command and kills the marked processes that remain, also after
``kill -9``.
"""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any
from uuid import uuid4

import psutil

from mmkgc.components.runtime.files import OWNER, hold

MARK = "MMKGC_COMMAND"
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 10.0
CLOCK_SECONDS = 2.0  # tolerance: creation times depend on the clock, which may be adjusted
FOLDER = "mmkgc-"
PER_GIB = 1 << (30 if sys.platform == "darwin" else 20)  # ru_maxrss is in bytes on macOS, in KiB on Linux
DATABASES = {"alembic", "mlflow", "optuna", "sqlalchemy"}
"""Packages in which a signal is postponed: an exception in the middle of a transaction leaves the database locked."""
POSTPONE_SECONDS = 0.005
PATIENCE_SECONDS = 5.0  # then the signal interrupts nevertheless, since a server may never answer
ROOT = Path(__file__).parents[2]
_held: dict[Path, Any] = {}


class Stopped(SystemExit):
    """Raised when a signal ends the command; the exit code is 128 + the signal's number, as in a shell."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal = signal.Signals(number).name


class _Stopper:
    """Signal handler that calls ``first`` at once and raises ``Stopped`` as soon as no database is at work."""

    def __init__(self, first: Callable[[], None]) -> None:
        self.first, self.since, self.postponed = first, 0.0, False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.since:
            self.since = time.monotonic()
            self.first()
        if _in_database(frame) and time.monotonic() < self.since + PATIENCE_SECONDS:
            if not self.postponed:
                again = threading.Timer(POSTPONE_SECONDS, self._again, (number,))
                again.daemon = self.postponed = True
                again.start()
            return
        raise Stopped(number)

    def _again(self, number: int) -> None:
        self.postponed = False
        os.kill(os.getpid(), number)


def _in_database(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_globals.get("__name__", "").partition(".")[0] in DATABASES:
            return True
        frame = frame.f_back
    return False


@contextmanager
def supervised() -> Iterator[None]:
    """Context in which signals raise ``Stopped`` and child processes do not outlive this process.

    Temporary files of this process and its children are in one folder, which is removed at the end. Folders left by
    commands that were killed are removed at the start.
    """
    sweep()
    mark, folder = uuid4().hex, private_folder()
    guard, pipe = _start_guard(mark)
    handled = {number: signal.getsignal(number) for number in SIGNALS}
    handled = {number: handler for number, handler in handled.items() if handler != signal.SIG_IGN}  # nohup, `&` in sh
    before = os.environ.get("TMPDIR"), tempfile.tempdir
    os.environ |= {MARK: mark, "TMPDIR": str(folder)}
    tempfile.tempdir = str(folder)
    try:
        _on_signals(dict.fromkeys(handled, _Stopper(lambda: _terminate(mark))))
        yield
    finally:
        _on_signals(dict.fromkeys(handled, signal.SIG_IGN))  # a second Ctrl-C must not interrupt the cleanup
        end(mark)
        os.environ.pop(MARK, None)
        _restore_temporary(*before)
        remove(folder)
        os.close(pipe)
        guard.wait()
        _on_signals(handled)


@contextmanager
def terminable() -> Iterator[None]:
    """Context in which SIGTERM, which ends a pod, raises ``Stopped``; further ones are ignored.

    Does nothing where SIGTERM is handled already, and outside the main thread.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    stopper = _Stopper(lambda: None)

    def stop_once(number: int, frame: FrameType | None) -> None:
        try:
            stopper(number, frame)
        except Stopped:
            signal.signal(number, signal.SIG_IGN)
            raise

    signal.signal(signal.SIGTERM, stop_once)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(mark: str) -> None:
    """Terminate the child processes, so that cleanup does not wait for them."""
    for process in marked(mark):
        with suppress(psutil.Error):
            process.terminate()


def _on_signals(handlers: dict[signal.Signals, Any]) -> None:
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _restore_temporary(variable: str | None, folder: str | None) -> None:
    tempfile.tempdir = folder
    if variable is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = variable


def _start_guard(mark: str) -> tuple[subprocess.Popen, int]:
    """Start the guard; returns it with the write end of the pipe, which closes when this process ends."""
    theirs, ours = os.pipe()
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {name: value for name, value in os.environ.items() if name != MARK} | {"PYTHONPATH": python_path}
    nothing = subprocess.DEVNULL
    guard = subprocess.Popen(
        [sys.executable, "-m", "mmkgc.components.runtime.guard", mark],
        stdin=theirs,
        stdout=nothing,
        stderr=nothing,
        cwd="/",
        env=environment,
        start_new_session=True,
    )
    os.close(theirs)
    return guard, ours


def marked(mark: str) -> list[psutil.Process]:
    """Processes of this user that carry the mark, except this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found


def end(mark: str, grace: float = GRACE_SECONDS) -> None:
    """Terminate all processes with the mark; kill those still running after ``grace`` seconds."""
    processes = marked(mark) if grace else []
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(processes, timeout=grace)
    while processes := marked(mark):  # including those started meanwhile
        for process in processes:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(processes, timeout=1)


def private_folder(parent: str | None = None) -> Path:
    """Create a temporary folder of this process; if it is not removed by ``remove``, a later ``sweep`` removes it."""
    hidden = Path(tempfile.mkdtemp(prefix=f".{FOLDER}", dir=parent))
    folder = hidden.with_name(hidden.name[1:])
    owner = hold(hidden / OWNER)
    hidden.rename(folder)
    _held[folder] = owner
    return folder


def remove(folder: Path) -> None:
    """Remove a folder that ``private_folder`` made."""
    shutil.rmtree(folder, ignore_errors=True)
    if owner := _held.pop(folder, None):
        owner.close()


def sweep() -> None:
    """Remove the private folders of processes that have ended."""
    for parent in {tempfile.gettempdir(), "/tmp"}:
        for folder in Path(parent).glob(f"{FOLDER}*"):
            with suppress(OSError):
                if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not (folder / OWNER).exists():
                    continue
                if owner := hold(folder / OWNER):
                    shutil.rmtree(folder, ignore_errors=True)
                    owner.close()


def usage() -> dict[str, float]:
    """Peak memory (GiB) of the largest process, and processor seconds, of this process and its ended children."""
    found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "process/peak_memory_gib": max(each.ru_maxrss for each in found) / PER_GIB,
        "process/cpu_seconds": sum(each.ru_utime + each.ru_stime for each in found),
    }


def identity() -> str:
    """Unique text for this process: host, PID namespace, PID and creation time."""
    space = "-"
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()} {space} {os.getpid()} {psutil.Process().create_time():.0f}"


def host(process: str) -> str:
    """The host of the process with this ``identity``."""
    return process.partition(" ")[0]


def has_ended(process: str) -> bool:
    """Whether the process with this ``identity`` has certainly ended; False for another machine or container."""
    here, there = identity().split(" "), process.split(" ")
    if len(there) != len(here) or there[:2] != here[:2]:
        return False
    try:
        born = psutil.Process(int(there[2])).create_time()
        return abs(born - float(there[3])) > CLOCK_SECONDS
    except (psutil.NoSuchProcess, ValueError):
        return True
