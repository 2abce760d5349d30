"""How commands that are printed call this program."""

import os
import shutil
import sys


def program() -> str:
    """How this program is called from this terminal: ``mmkgc`` if the PATH finds it, else the path it was called by."""
    called = sys.argv[0]
    found = shutil.which("mmkgc")
    if os.path.basename(called) != "mmkgc" or (found and os.path.realpath(found) == os.path.realpath(called)):
        return "mmkgc"
    return called
