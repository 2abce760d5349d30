"""A device that is not the CPU, where there is no GPU: tensors in host memory that claim to lie elsewhere.

PyTorch's operations check that their tensors lie on one device; so do these, and what does not lie there is told as on
a GPU. Nothing else of a GPU is simulated: no speed, no other arithmetic, no CUDA library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("lazy", 0)  # PyTorch knows this type without any library; its gradients run in this thread
MOVES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten._local_scalar_dense.default}
INDEXED = {torch.ops.aten.index.Tensor, torch.ops.aten.index_put.default, torch.ops.aten.index_put_.default}


class Elsewhere(Tensor):
    """A tensor that holds another one and claims to lie on ``DEVICE``."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> "Elsewhere":
        tensor = Tensor._make_wrapper_subclass(
            cls, held.size(), held.stride(), held.storage_offset(), dtype=held.dtype, device=DEVICE
        )
        tensor.held = held
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        return _run(function, arguments, named or {})

    def tolist(self) -> Any:  # PyTorch refuses it for every subclass
        return self.held.tolist()

    def __repr__(self) -> str:
        return f"Elsewhere({self.held!r})"


class _Mode(TorchDispatchMode):
    """Also sees operations that make tensors from nothing."""

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        return _run(function, arguments, named or {})


class _Generator(torch.Generator):
    """A generator that claims to lie where it was asked for."""

    def __new__(cls, device: torch.device | str = "cpu") -> "_Generator":
        generator = super().__new__(cls, "cpu")
        generator.place = torch.device(device)
        return generator

    @property
    def device(self) -> torch.device:
        return self.place


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """A block in which ``DEVICE`` can be used."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=…): made on the CPU, then moved
    try:
        with (
            _Mode(),
            patch("torch.Generator", _Generator),
            patch("torch.optim.optimizer._get_fused_kernels_supported_devices", lambda: ["cpu", DEVICE.type]),
            patch(f"torch.{DEVICE.type}", torch.cpu, create=True),  # where checkpointing looks for the device's ways
        ):
            yield DEVICE
    finally:
        torch._C._set_only_lift_cpu_tensors(before)


def _run(function: Any, arguments: Any, named: dict[str, Any]) -> Any:
    tensors = [each for each in tree_flatten((arguments, named))[0] if isinstance(each, Tensor)]
    away = any(isinstance(tensor, Elsewhere) for tensor in tensors)
    if "device" in named and named["device"] is not None:
        target = torch.device(named["device"]).type == DEVICE.type
        named = named | {"device": torch.device("cpu")}
    else:
        target = away
    if away and function not in MOVES:
        _check(function, arguments, tensors)
    if function is torch.ops.aten._local_scalar_dense.default:
        target = False
    found = function(*tree_map(_held, arguments), **tree_map(_held, named))
    found = tree_map(lambda each: Elsewhere(each) if target and type(each) is Tensor else each, found)
    return return_and_correct_aliasing(function, arguments, named, found) if away and target else found


def _check(function: Any, arguments: Any, tensors: list[Tensor]) -> None:
    """As on a GPU: numbers may come from the CPU, and so may the index into a tensor that lies elsewhere."""
    if function in INDEXED and isinstance(arguments[0], Elsewhere):
        tensors = [arguments[0], *arguments[2:3]]
    for tensor in tensors:
        if not isinstance(tensor, Elsewhere) and tensor.dim():
            raise RuntimeError(f"{function}: expected all tensors to be on the same device, but one is on the CPU")


def _held(each: Any) -> Any:
    return each.held if isinstance(each, Elsewhere) else each
