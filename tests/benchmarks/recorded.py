"""Results of long experiments, kept as they come: what is stopped and started again goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.settings import Settings


def recorded(experiment: str, settings: Any, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """What ``measure()`` gives, from the record of ``experiment`` if the same settings and code were measured before.

    ``settings``: JSON that names the measurement. The record is one line of JSON a measurement, under the project's
    home (``$MMKGC_HOME``).
    """
    path = Settings.from_env().home / "benchmarks" / f"{experiment}.jsonl"
    key = digests.of_json([settings, digests.of_code()])
    found = _read(path).get(key)
    if found is None:
        found = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": key, "settings": settings, "result": found}) + "\n")
    return found


def _read(path: Path) -> dict[str, dict[str, float]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {row["key"]: row["result"] for row in map(json.loads, lines)}
