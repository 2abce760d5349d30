"""One place for everything that steps hand on: a folder or an S3 prefix, addressed by content."""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pyarrow.fs import FileSystem

from components.runtime.settings import Settings


class Stored(NamedTuple):
    """A published artifact: where it is and the SHA-256 of what is in it."""

    uri: str
    digest: str

    def describe(self, artifact: Any) -> None:
        """Make a pipeline's output artifact (``kfp.dsl.Artifact``) point here."""
        artifact.uri = self.uri
        artifact.metadata["digest"] = self.digest


class StoredFile(NamedTuple):
    """A file in the store."""

    path: str
    bytes: int
    modified: float


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

    def write(self, path: str, data: bytes) -> None:
        """Store bytes at ``path`` below the root: whole or not at all."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Store bytes at ``path`` unless something is there: of several writers exactly one gets ``True``."""
        ...

    def read(self, path: str) -> bytes:
        """Bytes at ``path``. Raises FileNotFoundError."""
        ...

    def files(self, prefix: str) -> list[StoredFile]:
        """Files whose path begins with ``prefix``, sorted."""
        ...

    def delete(self, path: str) -> None:
        """Remove the file at ``path``, if it is there."""
        ...

    def uri(self, path: str) -> str:
        """The URI of ``path``."""
        ...

    def path(self, uri: str) -> str:
        """The path of a URI of this store. Raises UserError for a URI of another one."""
        ...

    @property
    def filesystem(self) -> FileSystem:
        """This store for pyarrow: paths below the root."""
        ...


def open_storage(root: str | None = None) -> Storage:
    """The store at ``root``, by default the one that the environment names (see ``components.runtime.settings``)."""
    from feature_store.local import LocalStorage

    return LocalStorage(root or Settings.from_env().storage)


def uris(**artifacts: Any) -> dict[str, str]:
    """URIs of the input artifacts that a step was given; ``None`` stands for an optional one that it was not."""
    return {name: artifact.uri for name, artifact in artifacts.items() if artifact is not None}
