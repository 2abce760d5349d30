"""torch.compile where it helps, with a word on why it is not used elsewhere."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Wanted = Literal["auto", "always", "never"]
Losses = Callable[..., dict[str, Tensor]]


def compiled(losses: Losses, wanted: Wanted, device: torch.device) -> Losses:
    """``losses`` compiled for batches of any size, or as they are where that is not wanted or not possible.

    ``auto`` compiles on a GPU alone: on the CPU the package's own kernels serve, which need no C++ compiler.
    """
    if wanted == "never" or (wanted == "auto" and device.type == "cpu"):
        return losses
    if device.type == "cpu" and compiler() is None:
        print("train goes on without torch.compile: this machine has no C++ compiler", flush=True)
        return losses
    if device.type == "cuda" and not _has_triton():
        print("train goes on without torch.compile: Triton is not installed, or does not know this GPU", flush=True)
        return losses
    import torch._functorch.config  # only now: it belongs to the compiler, whose import takes seconds

    torch._functorch.config.donated_buffer = False  # MAT's generators go backward twice after one forward pass
    return torch.compile(losses, dynamic=True)


def compiler() -> str | None:
    """The C++ compiler that torch.compile calls for the CPU; None where there is none."""
    return shutil.which(os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++"))


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
