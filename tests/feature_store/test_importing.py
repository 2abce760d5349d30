import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.importing import import_features
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.reader import load_features, load_tokens
from mmkgc.feature_store.storage import Storage

KEYS = ["Q1", "Q2", "Q3"]
VECTORS = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)


def _h5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["group/vectors"] = VECTORS


WRITERS: dict[str, Callable[[Path], None]] = {
    "v.npy": lambda path: np.save(path, VECTORS),
    "v.npz": lambda path: np.savez(path, visual=VECTORS),
    "v.pth": lambda path: torch.save(torch.from_numpy(VECTORS), path),
    "parameter.pth": lambda path: torch.save(torch.nn.Parameter(torch.from_numpy(VECTORS)), path),
    "double.pth": lambda path: torch.save(torch.from_numpy(VECTORS).double(), path),
    "keyed.pth": lambda path: torch.save({k: torch.from_numpy(v) for k, v in zip(KEYS, VECTORS, strict=True)}, path),
    "v.safetensors": lambda path: save_file({"vectors": VECTORS}, path),
    "v.h5": _h5,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_vectors(name: str, tmp_path: Path, local: Storage) -> None:
    WRITERS[name](tmp_path / name)
    stored = import_features(tmp_path / name, "visual", KEYS, local, made_by="VGG-16")
    np.testing.assert_array_equal(load_features(stored.uri, KEYS, local).vectors, VECTORS)
    assert import_features(tmp_path / name, "visual", KEYS, local, made_by="VGG-16") == stored
    manifest = Manifest.read(stored.uri, local)
    assert manifest.provenance == {"file": name, "array": None, "made_by": "VGG-16"}
    assert (manifest.encoder["encoder"], manifest.encoder["weights"]) == ("imported", "VGG-16")


def test_the_listed_order_counts(tmp_path: Path, storage: Storage) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    uri = import_features(tmp_path / "v.npy", "visual", ["Q3", "Q1", "Q2"], storage).uri
    np.testing.assert_array_equal(load_features(uri, KEYS, storage).vectors, VECTORS[[1, 2, 0]])


def test_zero_rows_are_missing(tmp_path: Path, local: Storage) -> None:
    vectors = VECTORS.copy()
    vectors[1] = 0
    np.save(tmp_path / "v.npy", vectors)
    torch.save({"Q1": torch.ones(6), "Q3": torch.ones(6)}, tmp_path / "keyed.pth")
    for name in ("v.npy", "keyed.pth"):
        uri = import_features(tmp_path / name, "visual", KEYS, local).uri
        assert load_features(uri, KEYS, local).mask.tolist() == [True, False, True]


def test_sequences_and_several_arrays(tmp_path: Path, local: Storage) -> None:
    sequences = np.ones((3, 4, 6), np.float32)
    sequences[0, 2:] = 0
    np.savez(tmp_path / "v.npz", pooled=VECTORS, words=sequences)
    with pytest.raises(UserError, match="there are 2 arrays — name one of: pooled, words"):
        import_features(tmp_path / "v.npz", "textual", KEYS, local)
    with pytest.raises(UserError, match="did you mean 'words'"):
        import_features(tmp_path / "v.npz", "textual", KEYS, local, array="word")
    uri = import_features(tmp_path / "v.npz", "textual", KEYS, local, array="words").uri
    assert load_tokens(uri, KEYS, 4, local).mask.sum(1).tolist() == [2, 4, 4]


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (VECTORS[:2], "the array has 2 rows, and the graph 3 entities"),
        (VECTORS[0], r"float32 \[6\]"),
        (np.ones((3, 6), int), r"int64 \[3, 6\]"),
        (np.where(np.eye(3, 6) * [[0], [1], [0]], np.nan, VECTORS), r"row 1 \('Q2'\) is not finite"),
    ],
)
def test_what_does_not_fit_is_refused(array: np.ndarray, told: str, tmp_path: Path, local: Storage) -> None:
    np.save(tmp_path / "v.npy", array)
    with pytest.raises(UserError, match=told):
        import_features(tmp_path / "v.npy", "visual", KEYS, local)
    assert local.files("") == []


def test_pickle_is_never_run(tmp_path: Path, local: Storage) -> None:
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(_Evil()))
    np.save(tmp_path / "evil.npy", np.array([_Evil()], dtype=object), allow_pickle=True)
    for name in ("evil.pth", "evil.npy"):
        with pytest.raises(UserError, match="it holds Python objects, which are not loaded"):
            import_features(tmp_path / name, "visual", KEYS, local)


class _Evil:
    def __reduce__(self) -> tuple:
        return exec, ("raise SystemExit('code of an array file was run')",)


def test_files_that_are_none_are_refused(tmp_path: Path, local: Storage) -> None:
    (tmp_path / "v.csv").write_text("1,2")
    torch.save({"Q1": torch.ones(2), "stranger": torch.ones(2)}, tmp_path / "keyed.pth")
    torch.save({"Q1": torch.ones(2), "Q2": torch.ones(3)}, tmp_path / "uneven.pth")
    torch.save({"Zoe\u0308": torch.ones(2), "Q2": torch.ones(2)}, tmp_path / "accents.pth")
    for name, told in {
        "nowhere.npy": "no such file",
        "v.csv": r"'.csv' is not a known array file",
        "keyed.pth": "1 key is no entity, such as 'stranger'",
        "uneven.pth": "different shapes",
        "accents.pth": "such as 'Zoe\u0308' — 'Zo\xeb' is there in another Unicode form",
    }.items():
        with pytest.raises(UserError, match=told):
            import_features(tmp_path / name, "visual", [*KEYS, "Zo\xeb"], local)


def test_files_of_other_kinds_are_told_as_what_they_are(tmp_path: Path, local: Storage) -> None:
    torch.save([torch.ones(6)], tmp_path / "list.pth")
    torch.save({"model": {"Q1": torch.ones(6)}}, tmp_path / "nested.pth")
    np.save(tmp_path / "cut.npy", VECTORS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:90])
    np.save(tmp_path / "narrow.npy", np.ones((3, 0), np.float32))
    np.save(tmp_path / "wide.npy", np.full((3, 2), 1e300))
    (tmp_path / "page.npy").write_text("<html>")
    np.savez(tmp_path / "empty.npz")
    (tmp_path / "folder.npy").mkdir()
    for name, told in {
        "list.pth": "neither a tensor nor a dictionary of vectors",
        "nested.pth": "neither a tensor nor a dictionary of vectors",
        "cut.npy": r"cut\.npy: cannot be read \(",
        "narrow.npy": r"float32 \[3, 0\]",
        "wide.npy": r"row 0 \('Q1'\) is not finite",
        "page.npy": "it holds Python objects, which are not loaded, or is no .npy file",
        "empty.npz": "the file holds no array",
        "folder.npy": "this is not a regular file",
    }.items():
        with pytest.raises(UserError, match=told):
            import_features(tmp_path / name, "visual", KEYS, local)
    assert local.files("") == []


def test_a_suffix_may_be_in_capitals_and_a_name_needs_several_arrays(tmp_path: Path, local: Storage) -> None:
    np.save(tmp_path / "v.npy", VECTORS)
    (tmp_path / "v.npy").rename(tmp_path / "V.NPY")
    import_features(tmp_path / "V.NPY", "visual", KEYS, local)
    with pytest.raises(UserError, match="the file holds one array, which has no name such as 'a'"):
        import_features(tmp_path / "V.NPY", "visual", KEYS, local, array="a")
    with pytest.raises(UserError, match="501 characters"):
        import_features(tmp_path / "V.NPY", "visual", KEYS, local, made_by="x" * 501)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_every_kind_of_float_is_read_from_safetensors(dtype: torch.dtype, tmp_path: Path, local: Storage) -> None:
    vectors = torch.from_numpy(VECTORS).to(dtype)
    save_tensors({"vectors": vectors}, tmp_path / "v.safetensors")
    uri = import_features(tmp_path / "v.safetensors", "visual", KEYS, local).uri
    np.testing.assert_array_equal(load_features(uri, KEYS, local).vectors, vectors.float())


def test_keys_with_slashes_are_found_in_hdf5(tmp_path: Path, local: Storage) -> None:
    keys = ["/m/02", "http://ex.org/a", "a/b/"]
    with h5py.File(tmp_path / "v.h5", "w") as file:
        for key, vector in zip(keys, VECTORS, strict=True):
            file[key.rstrip("/")] = vector
    uri = import_features(tmp_path / "v.h5", "visual", keys, local).uri
    np.testing.assert_array_equal(load_features(uri, keys, local).vectors, VECTORS)
    with pytest.raises(UserError, match="'a/b' is the vector of several entities, whose keys differ in slashes alone"):
        import_features(tmp_path / "v.h5", "visual", [*keys, "a//b"], local)


@pytest.mark.parametrize("how", ["external storage", "external link", "virtual"])
def test_hdf5_brings_nothing_from_other_files(how: str, tmp_path: Path, local: Storage) -> None:
    (tmp_path / "secret").write_bytes(b"not yours" * 10)
    _h5(tmp_path / "other.h5")
    with h5py.File(tmp_path / "v.h5", "w") as file:
        if how == "external storage":
            file.create_dataset("v", (3, 6), "f4", external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)])
        elif how == "external link":
            file["v"] = h5py.ExternalLink("other.h5", "group/vectors")
        else:
            layout = h5py.VirtualLayout((3, 6), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "group/vectors", (3, 6))
            file.create_virtual_dataset("v", layout)
    with pytest.raises(UserError, match="the numbers of 'v' lie in another file — save them within this one"):
        import_features(tmp_path / "v.h5", "visual", KEYS, local)
