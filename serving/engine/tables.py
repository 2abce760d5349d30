"""The encoded entities of a model: computed once, stored in a file and memory-mapped by every worker."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.model import Model

FILE = "tables.safetensors"


def write_tables(path: Path, bundle: Bundle) -> None:
    """Write the encoded entities of a bundle's model."""
    with torch.no_grad():
        tensors = bundle.model.encode().tensors()
    save_file(apart(dict(sorted(tensors.items()))), path)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, contiguous; one that has memory in common with an earlier one is copied, as a file needs it."""
    found, held = {}, set[int]()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        found[name] = tensor.clone(memory_format=torch.contiguous_format) if memory in held else tensor.contiguous()
        held.add(memory)
    return found


def read_tables(path: Path, model: Model) -> EncodedEntities | None:
    """Memory-map the encoded entities of a file; ``None`` if there is no such file."""
    return EncodedEntities.restored(model.fusion, load_file(path)) if path.exists() else None
