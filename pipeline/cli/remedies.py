"""What ``mmkgc doctor --fix`` can do itself: nothing that deletes or replaces what somebody has made."""

import importlib
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import shell


class Remedy(NamedTuple):
    """A change that mends a finding.

    ``words`` say beforehand what will be done; ``apply`` does it and returns what was done. It raises UserError if it
    fails.
    """

    words: str
    apply: Callable[[], str]


def installs(*requirements: str) -> Remedy | None:
    """Install packages beside those that are installed, which keep their versions; None if there is no pip."""
    if find_spec("pip") is None:
        return None
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]

    def apply() -> str:
        with TemporaryDirectory() as folder:
            constraints = Path(folder) / "installed.txt"
            constraints.write_text("".join(_installed()))
            before = {line.partition("==")[0] for line in _installed()}
            _ran([*command, "--constraint", str(constraints)], "pip", "run the command yourself, and see what it says")
        importlib.invalidate_caches()
        added = sorted(line.strip() for line in _installed() if line.partition("==")[0] not in before)
        return f"installed {', '.join(added) or 'nothing new'}"

    return Remedy(
        f"install {', '.join(requirements)}: pip install {shell(*requirements)}; no other package changes", apply
    )


def hides(file: Path) -> Remedy:
    """Make a file readable by its owner alone."""

    def apply() -> str:
        try:
            file.chmod(0o600)
        except OSError as error:
            raise UserError(file, f"its permissions cannot be changed ({error.strerror})", "ask its owner") from error
        return f"{file} can be read by its owner alone"

    return Remedy(f"chmod 600 {shell(file)}", apply)


def closes_runs(count: int) -> Remedy:
    """End the MLflow runs whose process has ended."""

    def apply() -> str:
        from mmkgc.components.runtime import tracking

        tracking.close_dead_runs(tracking.client())
        return f"ended {counted(count, 'run')} as KILLED"

    of = counted(count, "run of a killed process", "runs of killed processes")
    return Remedy(f"end {of} in MLflow as KILLED", apply)


def _installed() -> set[str]:
    """Name and version of every installed package, as lines of a constraints file."""
    return {f"{found.name}=={found.version}\n" for found in distributions() if found.name}


def _ran(command: list[str], where: str, mend: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        said = [line for line in ended.stderr.splitlines() if line.strip()]
        raise UserError(where, said[-1] if said else f"ended with code {ended.returncode}", mend)
