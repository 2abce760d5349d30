"""What a training will need, estimated before it begins: memory by purpose, and disk.

The estimate counts what grows with the graph or the batch; ``mmkgc bench scale`` shows it beside the measured peak.
"""

import shutil
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import NamedTuple

import psutil
import torch

from mmkgc.components.kge.evaluation.ranks import SCORES_AT_ONCE
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.losses.base import NegativeLoss, WholeGraphLoss
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.optimizers.making import ROW_SPARSE

FLOAT, INTEGER = 4, 8  # bytes
PROGRAM = 700 << 20  # Python, PyTorch and the compiled kernels
OPTIMIZER_STATE = {"adam": 2, "adamw": 2, "lazy-adam": 2, "adagrad": 1, "row-adagrad": 0, "sgd": 0}  # copies of a table
FILTER = 7 * INTEGER  # of a triple: its code, and per side the query, its offset and the answer
PASSES = 6  # copies of a batch's vectors: own, fused, gathered, and their gradients


class Needs(NamedTuple):
    """Bytes of ``memory`` and ``disk`` by purpose."""

    memory: dict[str, int]
    disk: dict[str, int]

    def __str__(self) -> str:
        """One line, the largest purposes first."""
        return f"needs about {_listed(self.memory)} of memory and {_listed(self.disk)} of disk"


def needs(config: TrainConfig, n_entities: int, n_triples: int, widths: Mapping[str, int]) -> Needs:
    """The needs of a training on a graph; ``widths``: reals of a feature vector by modality, if known.

    Features are mapped from disk: the system keeps in memory what has room, so they are not counted as memory.
    """
    with torch.device("meta"):
        width = INTERACTIONS.create(config.model.interaction, config.model.dimension).entity_width
    name, table = config.optimizer.name, n_entities * width * FLOAT * config.model.structure
    features = sum(n_entities * each * FLOAT for each in widths.values())
    learned = table + (features if config.model.fine_tune else 0)
    memory = {
        "entity vectors": learned,
        "optimizer": OPTIMIZER_STATE[name] * learned + n_entities * FLOAT,
        "gradients": 0 if name in ROW_SPARSE else 2 * learned,
        "best epoch": learned if config.keep == "best" else 0,
        "averages": 2 * learned if config.ema else 0,
        "triples and filters": n_triples * (3 * INTEGER + FLOAT + 2 * FILTER),
        "batch": _batch(config, n_entities, n_triples, width),
        "evaluation": n_entities * width * FLOAT * (len(widths) + 1) + 2 * _scores(n_entities),
        "program": PROGRAM,
    }
    disk = {"model": learned + features, "checkpoint": learned * (2 + OPTIMIZER_STATE[name]), "features": 2 * features}
    return Needs(*({purpose: int(size) for purpose, size in part.items()} for part in (memory, disk)))


def _batch(config: TrainConfig, n_entities: int, n_triples: int, width: int) -> int:
    """Bytes of the vectors and scores of one batch."""
    size, sampler, loss = config.batch_size, config.negatives or {}, LOSSES.lookup(config.loss["name"])
    if issubclass(loss, WholeGraphLoss):  # scores the positives alone; the usual batch is the whole graph
        return FLOAT * width * (PASSES * n_entities + 4 * min(size, n_triples))
    if not issubclass(loss, NegativeLoss):
        scored = n_entities
        if candidates := config.loss.get("candidates"):
            scored = min(n_entities, candidates + size * (1 + config.loss["answers"]))
        return FLOAT * (PASSES * scored * width + 4 * size * scored)
    count = sampler.get("count", 1)
    negatives = 2 * ceil(size / sampler["group"]) * count if "group" in sampler else size * count
    return FLOAT * (PASSES * min(n_entities, 2 * size + negatives) * width + 6 * size * count)


def _scores(n_entities: int) -> int:
    return FLOAT * max(n_entities, min(256 * n_entities, SCORES_AT_ONCE))


def refuse_if_too_large(found: Needs, folder: Path) -> None:
    """Raise UserError if this machine has less free memory, or the disk of ``folder`` less room, than is needed."""
    memory, disk = sum(found.memory.values()), sum(found.disk.values())
    if memory > (free := free_memory()):
        what = f"it needs about {_listed(found.memory)} of memory, and {_size(free)} are free"
        raise UserError("train", what, _mend(found.memory))
    if disk > (free := free_disk(folder)):
        what = f"it needs about {_listed(found.disk)} of disk, and {_size(free)} are free in {folder}"
        raise UserError("train", what, "make room there, or set MMKGC_HOME to a larger disk")


def free_memory() -> int:
    """Bytes that this process may still take: of the machine, or of its control group if that has a limit."""
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
    except OSError:
        return free
    return free if limit == "max" else min(free, int(limit) - int(used))


def free_disk(folder: Path) -> int:
    """Bytes that are free on the disk of a folder, which need not exist yet."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return shutil.disk_usage(there).free


def _mend(memory: Mapping[str, int]) -> str:
    """What makes the largest part smaller."""
    largest = max(memory, key=lambda purpose: memory[purpose])
    smaller = "set train.model.dimension lower"
    return {
        "optimizer": "set train.optimizer.name=row-adagrad, which keeps one number an entity",
        "gradients": "set train.optimizer.name=row-adagrad, whose gradients are the batch's alone",
        "batch": "set train.batch_size lower, or 'train.loss={name: grouped-cross-entropy, candidates: 2000}'",
        "triples and filters": "train on a machine with more memory, or on fewer triples",
    }.get(largest, smaller)


def _listed(sizes: Mapping[str, int]) -> str:
    """The sum, and the largest purposes."""
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:3]
    parts = ", ".join(f"{purpose} {_size(size)}" for purpose, size in largest if size)
    return f"{_size(sum(sizes.values()))} ({parts})"


def _size(number: int) -> str:
    return f"{number / 1e9:.1f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"
