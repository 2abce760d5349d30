"""Freed memory stays with the process: soon a new tensor causes no page faults."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, torch
from components.runtime.malloc import keep_freed_memory
kept = {keep} and keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(12):
    before = faults()
    torch.ones(64 << 20, dtype=torch.uint8)
print(kept, faults() - before)
"""


def last_tensor(keep: bool) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(keep=keep)], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_freed_tensor_is_used_again_without_page_faults():
    kept, faults = last_tensor(keep=True)
    assert kept == "True"
    assert faults < 1000 < last_tensor(keep=False)[1]
