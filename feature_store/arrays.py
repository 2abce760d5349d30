"""Reading of array files without pickle: ``.pth``, ``.npy``, ``.npz``, HDF5 and safetensors."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from mmkgc.components.runtime.errors import UserError, did_you_mean, shown

if TYPE_CHECKING:
    import torch

Keyed = dict[str, np.ndarray]
HDF5 = (".h5", ".hdf5")


def read_array(path: Path, name: str | None = None) -> np.ndarray | Keyed:
    """The array of a file, or vectors by entity key where the file holds a dictionary of them.

    ``name`` chooses one of several. Raises UserError for unknown file types, pickled objects and ambiguous names.
    """
    readers: dict[str, Callable[[Path], np.ndarray | Mapping[str, np.ndarray]]] = {
        ".pth": _torch, ".pt": _torch, ".npy": _numpy, ".npz": _numpy,
        **dict.fromkeys(HDF5, _hdf5), ".safetensors": _safetensors,
    }  # fmt: skip
    if not os.path.isfile(path):
        what = "this is not a regular file" if os.path.lexists(path) else "there is no such file"
        raise UserError(path, what, "give the path of an array file: " + ", ".join(readers))
    kind = path.suffix.lower()
    if kind not in readers:
        raise UserError(path, f"'{kind}' is not a known array file", "use " + ", ".join(readers))
    try:
        found = readers[kind](path)
    except UserError:
        raise
    except Exception as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        if isinstance(error, UnpicklingError) or "pickle" in reason:
            reason = f"it holds Python objects, which are not loaded, or is no {kind} file"
        raise UserError(path, f"cannot be read ({reason})", "save it as .npy or .safetensors") from error
    if not isinstance(found, np.ndarray):
        return _choose(found, name, path)
    if name is not None:
        raise UserError(path, f"the file holds one array, which has no name such as '{shown(name)}'", "leave it out")
    return found


def _choose(arrays: Mapping[str, np.ndarray], name: str | None, path: Path) -> np.ndarray | Keyed:
    if name is not None:
        if name not in arrays:
            raise UserError(path, f"there is no array '{shown(name)}'", did_you_mean(name, arrays))
        return arrays[name]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if arrays and all(array.ndim == 1 for array in arrays.values()):
        return dict(arrays)
    if not arrays:
        raise UserError(path, "the file holds no array", "save an array, or vectors by key")
    raise UserError(path, f"there are {len(arrays)} arrays", "name one of: " + ", ".join(sorted(arrays)[:20]))


def _torch(path: Path) -> np.ndarray | Keyed:
    import torch

    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, torch.nn.Parameter | torch.Tensor):
        return found.detach().float().numpy()
    if not isinstance(found, dict) or any(isinstance(value, dict) for value in found.values()):
        raise UserError(path, "the file holds neither a tensor nor a dictionary of vectors", "save one of the two")
    return {str(key): torch.as_tensor(value).detach().float().numpy() for key, value in found.items()}


def _numpy(path: Path) -> np.ndarray | Mapping[str, np.ndarray]:
    found = np.load(path, allow_pickle=False)
    return found if isinstance(found, np.ndarray) else {name: found[name] for name in found.files}


def _hdf5(path: Path) -> Keyed:
    """Every array of the file by its path. Raises UserError for an array whose data are in another file."""
    import h5py

    arrays: Keyed = {}
    links: list[tuple[str, Any]] = []
    with h5py.File(path, "r") as file:
        file.visititems_links(lambda name, link: links.append((name, link)))
        for name, link in links:
            item = file[name] if isinstance(link, h5py.HardLink) else link
            is_array = isinstance(item, h5py.Dataset)
            if isinstance(item, h5py.ExternalLink) or (is_array and (item.external or item.is_virtual)):
                what = f"the numbers of '{shown(name)}' lie in another file"
                raise UserError(path, what, "save them within this one")
            if is_array:
                arrays[name] = item[()]
    return arrays


def name_in(path: Path, key: str) -> str:
    """Name of the array of an entity ``key`` in the file; HDF5 interprets slashes as groups."""
    return "/".join(part for part in key.split("/") if part not in ("", ".")) if path.suffix.lower() in HDF5 else key


def _safetensors(path: Path) -> Keyed:
    from safetensors.torch import load_file

    return {name: _floats(tensor) for name, tensor in load_file(path).items()}


def _floats(tensor: "torch.Tensor") -> np.ndarray:
    """The array of a tensor; bfloat16 and other short floats, which numpy does not have, as float32."""
    return tensor.float().numpy() if tensor.is_floating_point() and tensor.itemsize < 4 else tensor.numpy()
