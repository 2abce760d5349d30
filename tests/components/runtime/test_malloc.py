"""Freed memory stays with the process, in large pages: soon a new tensor causes no page faults."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SCRIPT = """
import resource, torch
from mmkgc.components.runtime.malloc import keep_freed_memory
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


MAP = """
import torch
from mmkgc.components.runtime.malloc import keep_freed_memory
keep_freed_memory()
middle = torch.ones(64 << 20, dtype=torch.uint8)[32 << 20 :].data_ptr()
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0]:
        first, last = (int(address, 16) for address in line.split()[0].split("-"))
    elif line.startswith("VmFlags") and first <= middle < last:
        print("hg" in line.split())
"""


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="no large pages here")
def test_tensors_lie_where_large_pages_are_wanted():
    done = subprocess.run([sys.executable, "-c", MAP], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
