"""Determines how a step's process ended, and describes it in one sentence if the cause is known."""

import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import psutil

from mmkgc.components.runtime.errors import StepFailed, UserError

GIGABYTE = 1 << 30
LAST_LINES = 20
SYSTEM = re.compile(r"(?:\[[Ee]rrno |\(os error )(\d+)")
SQLITE = {"database or disk is full": 28, "readonly database": 30}  # SQLite's messages for ENOSPC and EROFS


def failure(step: str, log: Path, code: int, peak: int = 0) -> Exception:
    """The exception for a failed step: one sentence for a signal, a UserError or a system error, else the traceback.

    ``code``: exit code of the step's process. A signal gives a negative code, or one above 128 if reported by a shell.
    ``peak``: largest memory of one of its processes, in bytes.
    """
    if number := -code if code < 0 else max(0, code - 128):
        return _signalled(step, number, log, peak)
    end = _end(log)
    traceback = _traceback(end)
    for line in traceback:
        if "UserError: " in line:
            return UserError(step, line.partition("UserError: ")[2])
    text = traceback[-1] if traceback else ""
    numbers = [int(found) for found in SYSTEM.findall(text)]
    numbers += [number for words, number in SQLITE.items() if any(words in line for line in end)]  # MLflow adds lines
    if numbers:
        file = re.search(r"'([^']+)'$", text)
        told = f"{os.strerror(numbers[0])} in step '{step}' (the whole log: {log})"
        return OSError(numbers[0], told, file[1]) if file else OSError(numbers[0], told)
    return StepFailed(step, "\n".join(traceback), log)


def _signalled(step: str, number: int, log: Path, peak: int) -> UserError:
    name = signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"
    if number != signal.SIGKILL:
        return UserError(f"step '{step}'", f"ended by {name}", f"run again, it goes on where it was; the log: {log}")
    taken, total = peak / GIGABYTE, psutil.virtual_memory().total / GIGABYTE
    return UserError(
        f"step '{step}'",
        f"killed ({name}) when its largest process had taken up to {taken:.1f} GB of this machine's {total:.1f} GB",
        "unless somebody killed it, memory ran out: lower batch_size, dimension or workers, or give the machine more; "
        "run again, it goes on where it was",
    )


def _end(log: Path) -> list[str]:
    """Lines of the log from its last traceback on; without a traceback, the log's last lines."""
    lines = [line.removeprefix("    ") for line in log.read_text(encoding="utf-8").splitlines()]
    begins = [index for index, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    return lines[begins[-1] :] if begins else lines[-LAST_LINES:]


def _traceback(end: Sequence[str]) -> Sequence[str]:
    """The lines up to the error of the traceback that they begin with."""
    for index, line in enumerate(end):
        if index and line and not line.startswith((" ", "Traceback", "The above", "During")):
            return end[: index + 1]
    return end
