"""Displays one line per step: its state, duration and progress."""

import json
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import click

REFRESH_SECONDS = 0.2
MARKS = {"run": ("▸", "cyan"), "done": ("✓", "green"), "cached": ("=", "green"), "failed": ("✗", "red")}


class Display:
    """Prints steps as they begin and end; on a terminal the line of the running step is updated."""

    def __init__(self, steps: Sequence[str], home: Path) -> None:
        self.steps, self.current, self.begun = list(steps), "", time.monotonic()
        self.ended = 0
        self.progress_file = home / "progress.json"
        self.live = sys.stderr.isatty()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> "Display":
        self.progress_file.unlink(missing_ok=True)
        if self.live:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self.live:
            self._thread.join()
        self.progress_file.unlink(missing_ok=True)

    def begin(self, step: str) -> None:
        """Record that a step's process starts."""
        self.progress_file.unlink(missing_ok=True)
        self.current, self.begun = step, time.monotonic()

    def succeed(self, step: str) -> None:
        """Print that a step succeeded."""
        self._line("done", step, self._seconds(), end=True)
        self.current = ""

    def fail(self, step: str) -> None:
        """Print that a step failed; it remains the current step, so that the error can name it."""
        self._line("failed", step, self._seconds(), end=True)
        self._ended.set()

    def cached(self, step: str) -> None:
        """Print that a step's output came from the cache."""
        self.current = step
        self._line("cached", step, "unchanged, from the cache", end=True)
        self.current = ""

    def tell(self, sentence: str) -> None:
        """Print what the current step says."""
        click.echo(("\r\033[K" if self.live else "") + f"       {sentence}", err=True)

    def _seconds(self) -> str:
        return f"{time.monotonic() - self.begun:6.1f} s"

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            if self.current:
                self._line("run", self.current, f"{self._seconds()}  {self._progress()}", end=False)

    def _progress(self) -> str:
        try:
            state = json.loads(self.progress_file.read_text())
        except (OSError, ValueError):
            return ""
        total = f"/{state['total']}" if state["total"] else ""
        return f"{state['description']} {state['done']}{total} {state['note']}"

    def _line(self, state: str, step: str, text: str, end: bool) -> None:
        mark, colour = MARKS[state]
        place = f"{min(self.ended + 1, len(self.steps))}/{len(self.steps)}"  # in the order of their ends
        self.ended += end
        line = f"{click.style(mark, fg=colour)} {place} {step:<16}{text}"
        click.echo(("\r\033[K" if self.live else "") + line, nl=end, err=True)
