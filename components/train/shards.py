"""Checkpoints of a training whose table of entities is divided among processes.

A checkpoint has one file a process. The file that names them is written last, so that all are of the same epoch.
Another number of processes can go on from them.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.sharded_rows import slice_of
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.components.train import checkpoint
from mmkgc.components.train.distributed import Group

TABLE = "entities.structure"
"""Name of the divided tensor in the model's state."""


def save(path: Path, state: dict[str, Any], epoch: int, group: Group) -> None:
    """Write this process's part of a checkpoint; when all have, the main process makes it the one to go on from."""
    checkpoint.save(_part(path, epoch, group.rank, group.size), state)
    group.told()
    if group.is_main:
        write_json(path.with_suffix(".json"), {"epoch": epoch, "processes": group.size})
        current = {_part(path, epoch, rank, group.size) for rank in range(group.size)}
        for old in set(path.parent.glob(f"{path.stem}-*.pt")) - current:
            old.unlink()


def load(path: Path, device: torch.device, n_entities: int, group: Group) -> dict[str, Any] | None:
    """This process's state from the parts of a checkpoint, of which there may be another number; None without one."""
    named = path.with_suffix(".json")
    if not named.is_file():
        return None
    found = read_json(named)
    parts = [
        checkpoint.load(_part(path, found["epoch"], rank, found["processes"]), device)
        for rank in range(found["processes"])
    ]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        return None
    own = slice_of(n_entities, group.rank, group.size)

    def mine(pieces: list[Tensor]) -> Tensor:
        return torch.cat(pieces)[own]

    state = whole[min(group.rank, len(whole) - 1)]
    state["model"][TABLE] = mine([part["model"][TABLE] for part in whole])
    state["rows"]["sums"] = mine([part["rows"]["sums"] for part in whole])
    if state["selection"]["best_state"] is not None:
        state["selection"]["best_state"][TABLE] = mine([part["selection"]["best_state"][TABLE] for part in whole])
    return state


def _part(path: Path, epoch: int, rank: int, size: int) -> Path:
    return path.with_name(f"{path.stem}-{epoch}-{rank}-of-{size}.pt")
