"""torch.compile where it helps, with a word on why it is not used elsewhere."""

import os
import shutil
import sys
from collections.abc import Callable
from typing import Any, Literal

import torch

from mmkgc.components.kge.batch_loss import BatchLosses
from mmkgc.components.kge.tensors import total

Wanted = Literal["auto", "always", "never"]
Losses = Callable[..., BatchLosses]


def compiled(losses: Losses, wanted: Wanted, device: torch.device) -> Losses:
    """``losses(model, …)`` compiled for batches of any size, or as they are where that is not wanted or not possible.

    ``auto`` compiles on a GPU alone: on the CPU the package's own kernels serve, which need no C++ compiler.
    """
    if wanted == "never" or (wanted == "auto" and device.type == "cpu"):
        return losses
    if reason := lacking(device):
        _go_on_without(reason)
        return losses
    return Compiled(losses)


def lacking(device: torch.device) -> str | None:
    """What torch.compile misses on this machine; None where it has all."""
    if device.type == "cpu":
        there = compiler("CXX", "clang++" if sys.platform == "darwin" else "g++")
        return None if there else "this machine has no C++ compiler"
    if not _has_triton():
        return "Triton is not installed, or does not know this GPU"
    # Triton starts its kernels through a small C library, which it builds when the first of them is needed
    return None if compiler("CC", "gcc", "clang") else "this machine has no C compiler, which Triton needs (gcc)"


def compiler(variable: str, *usual: str) -> str | None:
    """Path of the compiler that an environment variable names, or else of the first usual one; None without any."""
    named = os.environ.get(variable)
    return next(filter(None, map(shutil.which, [named] if named else usual)), None)


class Compiled:
    """Compiled losses; from the first failure of the compiler on, as they are.

    That a compiler is there does not mean that it works, and a run had better be slower than end. The code of the
    gradient is compiled when it is needed first, so the first batch goes backward once more, within this object.
    """

    def __init__(self, losses: Losses) -> None:
        import torch._functorch.config  # only now: it belongs to the compiler, whose import takes seconds

        torch._functorch.config.donated_buffer = False  # a graph goes backward twice here, and MAT's generators' too
        self.losses, self.fast, self.proven = losses, torch.compile(losses, dynamic=True), False

    def __call__(self, model: torch.nn.Module, *rest: Any) -> BatchLosses:
        """The losses of a batch."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            found = self.fast(model, *rest)
            if not self.proven:
                parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
                torch.autograd.grad(total(found.losses.values()), parameters, retain_graph=True, allow_unused=True)
                self.proven = True
        except TorchDynamoException as error:
            _go_on_without(f"compiling failed ({str(error).strip().splitlines()[0]})")
            self.fast, self.proven = self.losses, True
            return self.losses(model, *rest)
        return found


def _go_on_without(reason: str) -> None:
    print(f"train goes on without torch.compile: {reason}", flush=True)


def _has_triton() -> bool:
    from torch.utils._triton import has_triton

    return has_triton()
