"""The content-addressed store for the outputs of steps: a folder or an S3 prefix."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pyarrow.fs import FileSystem

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.artifacts import point
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import is_http_url, masked
from mmkgc.components.runtime.settings import SCHEME, Settings, variable

SCHEMES = ("file", "s3")
BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True)
class StorageConfig:
    """Location of the store, a folder, ``file://…`` or ``s3://bucket/prefix``, and the S3 connection settings.

    Credentials are not part of it: they come from the standard AWS chain.
    """

    root: str
    endpoint: str | None = None
    region: str = "us-east-1"
    path_style: bool | None = None

    @classmethod
    def from_env(cls, root: str | None = None) -> "StorageConfig":
        """The store at ``root``, by default ``MMKGC_STORAGE``, with the usual variables of AWS.

        Raises UserError for a scheme that is neither ``file`` nor ``s3``, and for malformed names and URLs.
        """
        root = root or Settings.from_env().storage
        scheme, separator, _ = root.partition(":/")
        if separator and len(scheme) > 1 and root.partition(SCHEME)[0] not in SCHEMES:  # one letter is a drive
            mend = "give a folder, file:///PATH or s3://BUCKET/PREFIX (for other services: AWS_ENDPOINT_URL)"
            raise UserError(f"MMKGC_STORAGE {masked(root)}", f"there is no store of the kind '{scheme}'", mend)
        bucket = root.removeprefix("s3://").partition("/")[0] if scheme == "s3" else "-"
        if not BUCKET.fullmatch(bucket):
            raise UserError(f"MMKGC_STORAGE {masked(root)}", f"'{bucket}' is no bucket", "write s3://BUCKET/PREFIX")
        if scheme == "file" and not root.startswith("file:///"):
            raise UserError(f"MMKGC_STORAGE {root}", "this names no path of this machine", "write file:///PATH")
        endpoint = variable("AWS_ENDPOINT_URL_S3") or variable("AWS_ENDPOINT_URL")
        if endpoint and not is_http_url(endpoint):
            raise UserError(f"AWS_ENDPOINT_URL {masked(endpoint)}", "this is no HTTP URL", "write https://HOST:PORT")
        path_style = variable("MMKGC_S3_PATH_STYLE")
        return cls(
            root=root,
            endpoint=endpoint,
            region=variable("AWS_REGION") or variable("AWS_DEFAULT_REGION") or "us-east-1",
            path_style=None if path_style is None else path_style.lower() in ("1", "true", "yes"),
        )

    @property
    def addresses_by_path(self) -> bool:
        """Whether the bucket is in the path, not in the host name; the default for endpoints other than AWS."""
        return self.endpoint is not None if self.path_style is None else self.path_style


class Stored(NamedTuple):
    """A published artifact: its URI and the SHA-256 of its content."""

    uri: str
    digest: str

    def describe(self, artifact: Any) -> None:
        """Make a pipeline's output artifact (``kfp.dsl.Artifact``) point here."""
        point(artifact, self.uri, self.digest)


class StoredFile(NamedTuple):
    """A file in the store."""

    path: str
    bytes: int
    modified: float


class Storage(Protocol):
    """Interface of a store. Folders and blobs are immutable and named by their digest."""

    root: str

    def reach(self) -> None:
        """Raise UserError within seconds if the store cannot be used, in a step after minutes (``patience``)."""
        return

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
        """Bytes of a stored blob. Raises UserError if it is missing or does not match its digest."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Store bytes atomically at ``path`` below the root."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Store bytes at ``path`` if it does not exist; of several writers, exactly one gets ``True``."""
        ...

    def read(self, path: str) -> bytes:
        """Bytes at ``path``. Raises FileNotFoundError."""
        ...

    def files(self, prefix: str) -> list[StoredFile]:
        """Files whose path begins with ``prefix``, sorted."""
        ...

    def delete(self, path: str) -> None:
        """Remove the file at ``path`` if it exists."""
        ...

    def uri(self, path: str) -> str:
        """The URI of ``path``."""
        ...

    def path(self, uri: str) -> str:
        """The path of a URI of this store. Raises UserError for a URI of another one."""
        ...

    @property
    def filesystem(self) -> FileSystem:
        """This store as a pyarrow file system, with paths below the root."""
        ...


def checked_blob(data: bytes | None, digest: str, where: object) -> bytes:
    """The bytes of a blob (None: it is missing). Raises UserError unless they match the digest."""
    if data is not None and digests.of_bytes(data) == digest:
        return data
    what = "this file is not in the store any more" if data is None else "this file was changed after it was stored"
    raise UserError(where, what, "run with --no-cache, which stores it anew")
