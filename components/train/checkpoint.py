"""Checkpoints: the state of a training run in one file, written atomically and without pickled code."""

import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmkgc.components.runtime.files import atomic_path, locked, set_aside

PATIENCE_SECONDS = 10.0  # to wait for a process that is terminating


def save(path: Path, state: dict[str, Any]) -> None:
    """Write nested dictionaries of tensors and plain values."""
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load(path: Path, device: torch.device) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none or it is damaged. A damaged file is renamed."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if broken := archive.testzip():  # torch.load does not verify checksums
                raise ValueError(f"{broken} does not match its checksum")
        return torch.load(path, map_location=device, weights_only=True)
    except (ValueError, RuntimeError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError) as error:
        set_aside(path, str(error).splitlines()[0], "training begins anew")
        return None


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Lock the checkpoints of ``folder`` for this process. Raises UserError if another process holds the lock."""
    with locked(
        folder.with_name(f"{folder.name}.lock"), f"training with the checkpoints of {folder}", PATIENCE_SECONDS
    ):
        yield


def random_state(sampler: torch.Generator, shuffler: torch.Generator) -> dict[str, Any]:
    """State of the random generators: negatives, order of batches, and torch's own on the CPU and the GPU."""
    state = {"sampler": sampler.get_state(), "shuffler": shuffler.get_state(), "torch": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if sampler.device.type == "cuda" else {})


def restore_random_state(state: dict[str, Any], sampler: torch.Generator, shuffler: torch.Generator) -> None:
    """Restore what ``random_state`` recorded."""
    sampler.set_state(state["sampler"].cpu())
    shuffler.set_state(state["shuffler"].cpu())
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu())
