"""One place for everything that steps hand on: a folder or an S3 prefix, addressed by content."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from components.runtime import digests
from components.runtime.errors import UserError
from components.runtime.files import atomic_path
from components.runtime.settings import Settings


class Stored(NamedTuple):
    """A published artifact: where it is and the SHA-256 of what is in it."""

    uri: str
    digest: str

    def describe(self, artifact: Any) -> None:
        """Make a pipeline's output artifact (``kfp.dsl.Artifact``) point here."""
        artifact.uri = self.uri
        artifact.metadata["digest"] = self.digest


class Storage(Protocol):
    """What steps need of a store. Folders are immutable and named by their digest; blobs likewise."""

    root: str

    def publish(self, folder: Path, kind: str) -> Stored:
        """Store a copy of ``folder`` as ``<root>/<kind>/<digest>``; the same content is stored once."""
        ...

    def fetch(self, uri: str) -> Path:
        """Local, digest-checked, read-only folder of a published URI."""
        ...

    def put_blob(self, data: bytes) -> str:
        """Store bytes as ``<root>/blobs/<aa>/<digest>`` and return the digest."""
        ...

    def blob(self, digest: str) -> bytes:
        """Bytes of a stored blob."""
        ...


class LocalStorage:
    """A folder on this machine (or one that several machines mount)."""

    def __init__(self, root: str) -> None:
        self.root = str(Path(root.removeprefix("file://")).resolve())

    def publish(self, folder: Path, kind: str) -> Stored:
        digest = digests.of_folder(folder)
        target = Path(self.root) / kind / digest
        if not target.exists():
            with atomic_path(target) as temporary:
                shutil.copytree(folder, temporary)
        return Stored(str(target), digest)

    def fetch(self, uri: str) -> Path:
        folder = Path(uri.removeprefix("file://"))
        if not folder.is_dir():
            raise UserError(
                uri, "this artifact is not in the store any more", "run again without cache to make it anew"
            )
        if digests.of_folder(folder) != folder.name:
            raise UserError(uri, "the artifact was changed after it was stored", "delete the folder and run again")
        return folder

    def put_blob(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        path = self._blob_path(digest)
        if not path.exists():
            with atomic_path(path) as temporary:
                temporary.write_bytes(data)
        return digest

    def blob(self, digest: str) -> bytes:
        return self._blob_path(digest).read_bytes()

    def _blob_path(self, digest: str) -> Path:
        return Path(self.root) / "blobs" / digest[:2] / digest


def open_storage(root: str | None = None) -> Storage:
    """The store at ``root``, by default the one that the environment names (see ``components.runtime.settings``)."""
    return LocalStorage(root or Settings.from_env().storage)


def uris(**artifacts: Any) -> dict[str, str]:
    """URIs of the input artifacts that a step was given; ``None`` stands for an optional one that it was not."""
    return {name: artifact.uri for name, artifact in artifacts.items() if artifact is not None}
