"""Training with a table of entities that is divided among processes: what it cannot do, and its checkpoints.

A checkpoint has one file a process. The file that names them is written last, so that all are of the same epoch.
Another number of processes can go on from them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import NegativeLoss
from mmkgc.components.kge.sharded_rows import slice_of
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.components.train import checkpoint
from mmkgc.components.train.distributed import Group

if TYPE_CHECKING:
    from mmkgc.components.train.config import TrainConfig

ENCODER = "sharded"
SAMPLERS = ("uniform", "bernoulli", "shared")
TABLE = "entities.structure"
"""Name of the divided tensor in the model's state."""


def refusal(config: "TrainConfig") -> str | None:
    """Why a training cannot use the encoder ``sharded``; None if it can, or uses another one."""
    if config.model.encoder["name"] != ENCODER:
        return None
    sampler = config.negatives["name"] if config.negatives else None
    if not issubclass(LOSSES.lookup(config.loss["name"]), NegativeLoss):
        return f"with model.encoder: {ENCODER}, a loss compares with negatives, and '{config.loss['name']}' does not"
    if sampler not in SAMPLERS:
        return f"with model.encoder: {ENCODER}, the negatives are {', '.join(SAMPLERS)}, and not '{sampler}'"
    if config.optimizer.name != "row-adagrad":
        return f"with model.encoder: {ENCODER}, the optimizer is row-adagrad, and not '{config.optimizer.name}'"
    if config.regularizer is not None and config.regularizer["name"] == "l3":
        return f"with model.encoder: {ENCODER}, the regularizer l3 cannot read the whole table; take n3"
    for key, set_ in {
        "optimizer.clip": config.optimizer.clip,
        "optimizer.weight_decay": config.optimizer.weight_decay,
        "ema": config.ema,
    }.items():
        if set_:
            return f"with model.encoder: {ENCODER}, rows change as gradients arrive, so train.{key} cannot work"
    return None


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
