"""How long to wait for a service that does not answer: a user's command fails at once, a step of a pipeline waits.

A user may have mistyped an address and wants to know within seconds. A step may have hours of work behind it, and its
services come back: a database is restarted, a node is drained.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import variable

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 3.0
PATIENCE = "MMKGC_PATIENCE_SECONDS"

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")


class Away(UserError):
    """A service does not answer, or answers that it cannot work now: a later attempt may succeed."""


def patience() -> float:
    """Seconds for which a step waits for a service. Raises UserError if the variable is no number."""
    given = variable(PATIENCE)
    try:
        seconds = PATIENCE_SECONDS if given is None else float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UserError(f"{PATIENCE} {given}", "this is no number of seconds", "give a number of at least 0, e.g. 300")
    return seconds


def in_step() -> bool:
    """Whether this process is a step of a pipeline, on a cluster or started by ``mmkgc run``."""
    return bool(variable("MMKGC_PIPELINE_RUN") or variable("MLFLOW_RUN_ID"))


def patiently(ask: Callable[[], Answer]) -> Answer:
    """The answer of ``ask``. ``Away`` becomes a UserError: at once, in a step only after ``patience()`` seconds."""
    seconds = patience() if in_step() else 0.0
    deadline, told = time.monotonic() + seconds, False
    while True:
        try:
            return ask()
        except Away as error:
            where, what, mend = error.parts
            left = deadline - time.monotonic()
            if left <= 0:
                waited = f", still so after {seconds:.0f} s" if seconds else ""
                raise UserError(where, what + waited, mend) from error
            if not told:
                log.warning("%s: %s; trying again for %.0f s", where, what, left)
                told = True
            time.sleep(min(PAUSE_SECONDS, left))
