"""Weights of an encoder: a hub name, a local path, or seeded random numbers, which are labelled random everywhere.

A file or folder name is also searched in ``MMKGC_WEIGHTS`` and among the added weights (``mmkgc weights add``), so that
an identity contains no machine-specific paths and servers can keep the weights in their own folder. Only safetensors
and ``weights_only`` files are read: no pickle.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import write_text
from mmkgc.components.runtime.settings import Settings, variable

RANDOM = "random"
STATED_DIGEST = re.compile(r"-([0-9a-f]{8})\.pth$")
HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Weights:
    """Resolved weights: label, path (``None`` without a file) and SHA-256; ``random``: seeded random numbers."""

    label: str
    path: Path | None
    sha256: str
    revision: str | None = None
    random: bool = False

    @property
    def location(self) -> Path:
        """The file or folder of weights that are in one."""
        assert self.path is not None
        return self.path


def random_weights(build: Callable[[], nn.Module], **identity: str | int) -> Weights:
    """Weights of a seeded random network; the digest is cached, so that the network is built only once."""
    key = digests.of_json([identity, torch.__version__, digests.of_code()])
    return Weights(RANDOM, None, _remembered(key, lambda: of_state(build().state_dict())), random=True)


def formula(label: str, *values: Any) -> Weights:
    """For an encoder that is a formula instead of a network; ``values``, as JSON, are all numbers that it contains."""
    return Weights(label, None, digests.of_json([label, *values]))


def file_weights(name: str, sha256: str = "", label: str = "") -> Weights:
    """Weights in one local file, whose digest must begin with ``sha256`` where that is known.

    It is known of files named as torchvision names its releases: ``vgg16-397923af.pth`` states its first eight digits.
    """
    path = find_local(name)
    if path is None or not path.is_file():
        raise _absent(name, "file")
    digest, stated = _of_file(path), STATED_DIGEST.search(path.name)
    expected = sha256 or (stated[1] if stated else "")
    if not digest.startswith(expected):
        said = f"its SHA-256 begins with {digest[:8]}, that of the released file with {expected[:8]}"
        raise UserError(path, said, "download it again, or rename it where it is another file")
    return Weights(label or path.name, path, digest)


def checkpoint(name: str, revision: str | None = None) -> Weights:
    """A transformers checkpoint: a local folder, else a hub name (downloaded once, then read from the hub's cache)."""
    local = find_local(name)
    if local is not None and local.is_dir():
        return Weights(local.name, local, _of_folder(local))
    if name.startswith((".", "/", "~")):
        raise _absent(name, "folder")
    folder = _from_hub(name, revision)
    return Weights(name, folder, _of_folder(folder), revision=folder.name)


def find_local(name: str) -> Path | None:
    """The file or folder ``name``: a path, in ``MMKGC_WEIGHTS``, or among the added weights."""
    candidates = [Path(name).expanduser()]
    if weights := variable("MMKGC_WEIGHTS"):
        candidates.append(Path(weights).expanduser() / name)
    if not name.startswith((".", "/", "~")):
        candidates.append(added_to() / Path(name).name)
    return next((path for path in candidates if os.path.exists(path)), None)


def added_to() -> Path:
    """The folder of the weights that ``mmkgc weights add`` stores, by the last part of their name."""
    return Settings.from_env().home / "weights"


def load_network(folder: Path) -> nn.Module:
    """The network of a transformers checkpoint, in float32."""
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)


def seeded(seed: int, build: Callable[[], Network]) -> Network:
    """Build a network with a seeded generator, leaving the caller's random state unchanged."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def of_state(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of named tensors: names, shapes, types and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=HUB_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            name,
            f"there is no local folder of this name, and the hub does not give these weights ({reason})",
            "give a local path, put them in $MMKGC_WEIGHTS, or use 'random' for a trial",
        ) from error


def _of_folder(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise UserError(folder, "no *.safetensors file is here", "convert the checkpoint: pickled weights are not read")
    each = [_of_file(path) for path in files]
    return each[0] if len(each) == 1 else digests.of_json(each)


def _of_file(path: Path) -> str:
    state = path.stat()
    return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)


@cache
def _digest(path: Path, *state: int) -> str:
    """Digest of a file, cached per process; a cache on disk could be stale after the file changed."""
    return digests.of_file(path)


def _remembered(key: str, compute: Callable[[], str]) -> str:
    """A digest cached on disk with a checksum, which detects a damaged cache file."""
    memory = Settings.from_env().scratch / "weights" / key
    if memory.is_file():
        digest, _, check = memory.read_text(errors="replace").partition(" ")
        if check == digests.of_json([key, digest]):
            return digest
    digest = compute()
    write_text(memory, f"{digest} {digests.of_json([key, digest])}")
    return digest


def _absent(name: str, what: str) -> UserError:
    return UserError(name, f"no such {what}, here or in $MMKGC_WEIGHTS", "give its path, or 'random' for a trial")
