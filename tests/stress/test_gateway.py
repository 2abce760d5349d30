"""A very short form of the attacks; the whole of them: ``python tests/stress/gateway.py``."""

import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ["explained_deeply", "many_values", "header_floods", "guessed_keys", "fuzz"]


@pytest.mark.slow
def test_the_gateway_holds():
    command = [sys.executable, str(Path(__file__).with_name("gateway.py")), "--short", *NAMES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("| held |") == len(NAMES)
