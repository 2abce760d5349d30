"""Progress of long operations: a bar on a terminal, otherwise a log line every ten seconds.

A parent process that runs a step sets ``MMKGC_PROGRESS`` to the path of a file. The step writes its latest state there,
so that the parent can show one line per step without reading the step's log.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import TypeVar

from mmkgc.components.runtime.files import write_text

Item = TypeVar("Item")
LOG_SECONDS = 10.0
STATE_SECONDS = 0.2


def track(
    items: Iterable[Item], description: str, total: int | None = None, unit: str = "it", initial: int = 0
) -> Iterator[Item]:
    """Yield ``items`` and show how many of ``total`` are done (``initial`` of them by an earlier process)."""
    from tqdm import tqdm

    if total is None and isinstance(items, Sized):
        total = len(items) + initial
    bar = tqdm(
        total=total,
        desc=description,
        unit=unit,
        initial=initial,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
        leave=False,
    )
    meter = Meter(description, total, unit, initial)
    with bar:
        for item in items:
            yield item
            bar.update()
            meter.advance()
    meter.finish()


class Meter:
    """Counts finished units and reports them to the log and the parent process."""

    def __init__(self, description: str, total: int | None, unit: str, done: int = 0) -> None:
        self.description, self.total, self.unit, self.done = description, total, unit, done
        self.state_file = os.environ.get("MMKGC_PROGRESS")
        self.begun = self.logged = self.told = time.monotonic()
        self.begun_at = done

    def advance(self, count: int = 1, note: str = "") -> None:
        """Add ``count`` finished units; ``note`` is shown beside them (``dev MRR 0.41``)."""
        self.done += count
        now = time.monotonic()
        if self.state_file and now - self.told >= STATE_SECONDS:
            self.told = now
            self._tell(note)
        if not sys.stderr.isatty() and now - self.logged >= LOG_SECONDS:
            self.logged = now
            print(f"{self}{' · ' + note if note else ''}", file=sys.stderr, flush=True)

    def finish(self) -> None:
        """Report the final state."""
        if self.state_file:
            self._tell("")

    def _tell(self, note: str) -> None:
        state = {"description": self.description, "done": self.done, "total": self.total, "unit": self.unit}
        write_text(Path(str(self.state_file)), json.dumps(state | {"note": note}), durable=False)

    def __str__(self) -> str:
        rate = (self.done - self.begun_at) / max(time.monotonic() - self.begun, 1e-9)
        of = f"/{self.total}" if self.total is not None else ""
        left = f", {(self.total - self.done) / rate:.0f} s left" if self.total is not None and rate else ""
        return f"{self.description} {self.done}{of} ({rate:.3g} {self.unit}/s{left})"


def duration(seconds: float) -> str:
    """A time as people say it: 40 s, 12 min, 3.5 h."""
    if seconds < 9.5:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"
