"""Several processes, one model: each takes its share of every batch, and gradients are summed.

``torchrun --nproc-per-node 2 …`` starts them and sets environment variables with their number and each process's GPU. A
single process joins no group and has no overhead.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def own_device(kind: str) -> torch.device:
    """This process's device of a kind, ``cpu`` or ``cuda``; each process on a machine has its own GPU."""
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device(kind)


@dataclass(frozen=True)
class Group:
    """This process's place among ``size`` processes."""

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls, device: torch.device) -> "Group":
        """The group that ``torchrun`` describes, joined once; a group of one where there is none."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints, metrics and bundles."""
        return self.rank == 0

    def told(self, news: Any = None) -> Any:
        """Broadcast ``news`` of the main process to all; the others wait for it."""
        box = [news]
        if self.size > 1:
            dist.broadcast_object_list(box)
        return box[0]

    def share(self, rows: Tensor) -> Tensor:
        """This process's part of a batch."""
        return rows[self.rank :: self.size]

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Sum every gradient over the processes; a process that had no rows contributes zeros."""
        if self.size > 1:
            for parameter in parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                dist.all_reduce(parameter.grad)

    def copy(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the main process."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their mean over the processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor.data)
                tensor.data /= self.size
