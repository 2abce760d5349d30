"""The encoded entities of a model: computed once, stored in a file and memory-mapped by every worker."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.model import Model

FILE = "tables.safetensors"


def write_tables(path: Path, bundle: Bundle) -> None:
    """Write the encoded entities of a bundle's model."""
    with torch.no_grad():
        tensors = bundle.model.encode().tensors()
    save_file({name: tensor.contiguous() for name, tensor in sorted(tensors.items())}, path)


def read_tables(path: Path, model: Model) -> EncodedEntities | None:
    """Memory-map the encoded entities of a file; ``None`` if there is no such file."""
    return EncodedEntities.restored(model.fusion, load_file(path)) if path.exists() else None
