"""A store in a folder."""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from pyarrow.fs import FileSystem, LocalFileSystem, SubTreeFileSystem
from typing_extensions import override

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path
from mmkgc.feature_store.storage import Storage, Stored, StoredFile, checked_blob


class LocalStorage(Storage):
    """A folder on this machine (or a mounted network folder)."""

    def __init__(self, root: str) -> None:
        self.root = str(Path(root.removeprefix("file://")).resolve())

    @override
    def publish(self, folder: Path, kind: str) -> Stored:
        digest = digests.of_folder(folder)
        target = Path(self.root) / kind / digest
        if not target.exists() or digests.of_folder(target) != digest:  # a changed folder is replaced
            with atomic_path(target) as temporary:
                shutil.copytree(folder, temporary)
        return Stored(str(target), digest)

    @override
    def fetch(self, uri: str) -> Path:
        folder = Path(uri.removeprefix("file://"))
        if not folder.is_dir():
            raise UserError(
                uri, "this artifact is not in the store any more", "run again without cache to make it anew"
            )
        if digests.of_folder(folder) != folder.name:
            raise UserError(uri, "the artifact was changed after it was stored", "delete the folder and run again")
        return folder

    @override
    def put_blob(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        path = self._blob_path(digest)
        if not path.exists() or path.read_bytes() != data:  # a changed file is replaced
            with atomic_path(path, durable=False) as temporary:  # readers check the digest
                temporary.write_bytes(data)
        return digest

    @override
    def blob(self, digest: str) -> bytes:
        path = self._blob_path(digest)
        return checked_blob(path.read_bytes() if path.is_file() else None, digest, path)

    @override
    def write(self, path: str, data: bytes) -> None:
        with atomic_path(self._at(path)) as temporary:
            temporary.write_bytes(data)

    @override
    def create(self, path: str, data: bytes) -> bool:
        target = self._at(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".", dir=target.parent) as scratch:
            whole = Path(scratch) / "file"
            whole.write_bytes(data)
            try:
                os.link(whole, target)  # a link, unlike a rename, fails if the name exists
            except FileExistsError:
                return False
        return True

    @override
    def read(self, path: str) -> bytes:
        return self._at(path).read_bytes()

    @override
    def files(self, prefix: str) -> list[StoredFile]:
        found = []
        for folder, folders, names in os.walk(self._at(prefix.rpartition("/")[0])):
            folders[:] = [name for name in folders if not name.startswith(".")]  # unfinished work of other processes
            for path in (Path(folder, name) for name in names if not name.startswith(".")):
                with suppress(FileNotFoundError):  # deleted meanwhile
                    state = path.stat()
                    found.append(StoredFile(path.relative_to(self.root).as_posix(), state.st_size, state.st_mtime))
        return sorted(file for file in found if file.path.startswith(prefix))

    @override
    def delete(self, path: str) -> None:
        self._at(path).unlink(missing_ok=True)

    @override
    def uri(self, path: str) -> str:
        return str(self._at(path))

    @override
    def path(self, uri: str) -> str:
        path = Path(uri.removeprefix("file://"))
        if not path.is_relative_to(self.root):
            raise UserError(uri, f"this is not in the store {self.root}", "set MMKGC_STORAGE to the store that has it")
        return path.relative_to(self.root).as_posix()

    @property
    @override
    def filesystem(self) -> FileSystem:
        Path(self.root).mkdir(parents=True, exist_ok=True)
        return SubTreeFileSystem(self.root, LocalFileSystem(use_mmap=True))

    def _at(self, path: str) -> Path:
        return Path(self.root) / path

    def _blob_path(self, digest: str) -> Path:
        return Path(self.root) / "blobs" / digest[:2] / digest
