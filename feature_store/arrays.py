"""Arrays that researchers already have, read without pickle: ``.pth``, ``.npy``, ``.npz``, HDF5 and safetensors."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mmkgc.components.runtime.errors import UserError, did_you_mean

Keyed = dict[str, np.ndarray]


def read_array(path: Path, name: str | None = None) -> np.ndarray | Keyed:
    """The array of a file, or vectors by entity key where the file holds a dictionary of them.

    ``name`` chooses one of several. Raises UserError for unknown endings, files that need pickle, and unclear names.
    """
    readers: dict[str, Callable[[Path], np.ndarray | Mapping[str, np.ndarray]]] = {
        ".pth": _torch, ".pt": _torch, ".npy": _numpy, ".npz": _numpy,
        ".h5": _hdf5, ".hdf5": _hdf5, ".safetensors": _safetensors,
    }  # fmt: skip
    if not path.is_file():
        raise UserError(path, "no such file")
    if path.suffix not in readers:
        raise UserError(path, f"'{path.suffix}' is not a known array file", "use " + ", ".join(readers))
    try:
        found = readers[path.suffix](path)
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UserError(path, f"cannot be read without pickle ({reason})", "save it as .npy or .safetensors") from error
    return found if isinstance(found, np.ndarray) else _choose(found, name, path)


def _choose(arrays: Mapping[str, np.ndarray], name: str | None, path: Path) -> np.ndarray | Keyed:
    if name is not None:
        if name not in arrays:
            raise UserError(path, f"there is no array '{name}'", did_you_mean(name, arrays))
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if arrays and all(array.ndim == 1 for array in arrays.values()):
        return dict(arrays)
    raise UserError(path, f"there are {len(arrays)} arrays", "name one of: " + ", ".join(sorted(arrays)[:20]))


def _torch(path: Path) -> np.ndarray | Keyed:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, torch.nn.Parameter | torch.Tensor):
        return found.detach().float().numpy()
    return {str(key): torch.as_tensor(value).detach().float().numpy() for key, value in found.items()}


def _numpy(path: Path) -> np.ndarray | Mapping[str, np.ndarray]:
    found = np.load(path, allow_pickle=False)
    return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}


def _hdf5(path: Path) -> Keyed:
    import h5py

    arrays: Keyed = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return arrays


def _safetensors(path: Path) -> Keyed:
    from safetensors.numpy import load_file

    return load_file(path)
