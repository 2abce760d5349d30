"""A short form of every script beside it; the whole of them, and what they gave: docs/reliability.md."""

import subprocess
import sys
from pathlib import Path

import pytest

ATTACKS = ["explained_deeply", "many_values", "header_floods", "guessed_keys", "fuzz"]


def short(script: str, *arguments: str) -> str:
    """What the short form prints; everything in it has to hold."""
    command = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), "--short", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_gateway_holds():
    assert short("gateway", *ATTACKS).count("| held |") == len(ATTACKS)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", ["kills", "pairs", "damage", "disks"])
def test_commands_hold(script):
    assert "held" in short(script)
