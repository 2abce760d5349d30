"""torch.compile of the losses; where it is not used, the reason is logged."""

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
    """Compile ``losses(model, …)`` for batches of any size; return it unchanged where not wanted or not possible.

    ``auto`` compiles only on a GPU; the CPU uses the package's own kernels, which need no C++ compiler.
    """
    if wanted == "never" or (wanted == "auto" and device.type == "cpu"):
        return losses
    if reason := lacking(device):
        _go_on_without(reason)
        return losses
    return Compiled(losses)


def lacking(device: torch.device) -> str | None:
    """What torch.compile needs and this machine lacks; None if it lacks nothing."""
    if device.type == "cpu":
        there = compiler("CXX", "clang++" if sys.platform == "darwin" else "g++")
        return None if there else "this machine has no C++ compiler"
    if not _has_triton():
        return "Triton is not installed, or does not know this GPU"
    # Triton builds a small C library to launch its kernels when the first one is needed
    return None if compiler("CC", "gcc", "clang") else "this machine has no C compiler, which Triton needs (gcc)"


def compiler(variable: str, *usual: str) -> str | None:
    """Path of the compiler named by an environment variable, else of the first usual one found; None if none is."""
    named = os.environ.get(variable)
    return next(filter(None, map(shutil.which, [named] if named else usual)), None)


class Compiled:
    """Compiled losses, which fall back to the uncompiled ones if compilation fails.

    An installed compiler may still fail, and a slow run is better than an aborted one. The gradient is compiled on the
    first backward pass, so this object runs an additional backward pass on the first batch to detect failures.
    """

    def __init__(self, losses: Losses) -> None:
        import torch._functorch.config  # imported late: the compiler takes seconds to import

        torch._functorch.config.donated_buffer = False  # a graph has two backward passes here and in MAT
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
