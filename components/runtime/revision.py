"""The commit of the code that runs."""

import os
import subprocess
from pathlib import Path

UNKNOWN = "unknown"


def revision() -> str:
    """Commit of the code: from the image's environment, else from the checkout that holds it, else ``unknown``.

    An installed package may lie below a repository of somebody else, which does not track its files.
    """
    if sha := os.environ.get("MMKGC_GIT_SHA"):
        return sha
    here = Path(__file__)
    tracked = _git("ls-files", "--error-unmatch", here.name, folder=here.parent)
    return (tracked and _git("rev-parse", "HEAD", folder=here.parent)) or UNKNOWN


def _git(*words: str, folder: Path) -> str:
    """What a git command prints; nothing if it fails or there is no git."""
    try:
        found = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
