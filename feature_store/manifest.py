"""A manifest: the file that lists the parts and the entities of a set of vectors, with their digests."""

import json
import zlib
from contextlib import suppress
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored


class File(BaseModel):
    """A Parquet file beside the manifest; its name contains its SHA-256 and its CRC-32 (``file_name``)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    bytes: int
    rows: int

    @property
    def sha256(self) -> str:
        """Digest of the bytes."""
        return self.name.removesuffix(".parquet").split("-")[1]

    @property
    def crc32(self) -> str:
        """Checksum of the bytes, which every reader verifies."""
        return self.name.removesuffix(".parquet").split("-")[2]


class Manifest(BaseModel):
    """Vectors of a fixed set of entities: the files that hold them, and the number of usable ones.

    ``entities`` is a Parquet table with one row per entity (key, content, images, status, error) and no vectors;
    ``parts`` hold one row per content with its vector; entities with the same content share it.
    ``made_from`` is the digest of the pairs (key, content), which identifies the request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2] = 2
    modality: str
    dtype: str
    encoder: dict[str, Any]
    made_from: str
    entities: File
    parts: tuple[File, ...]
    counts: dict[str, int]
    provenance: dict[str, Any] = {}

    @property
    def spec(self) -> FeatureSpec:
        """Identity of the vectors."""
        return FeatureSpec(self.modality, self.encoder, self.dtype)

    def to_bytes(self) -> bytes:
        """Canonical JSON; its SHA-256 is the manifest's name."""
        return (json.dumps(self.model_dump(), indent=1, ensure_ascii=False) + "\n").encode()

    def summary(self) -> str:
        """One line: modality, numbers of entities with and without a vector, and the encoder."""
        seed = self.encoder.get("seed")
        weights = f"random weights, seed {seed}" if seed is not None else f"weights {self.encoder['weights']}"
        counts = ", ".join(f"{count} {status}" for status, count in self.counts.items())
        dimension = f"{self.encoder['output']} d = {self.spec.dimension}"
        return f"{self.modality} features: {counts} · {self.encoder['encoder']}, {dimension}, {weights}"

    def store(self, storage: Storage) -> Stored:
        """Write the manifest under a name derived from its digest; readers do not see it earlier."""
        data = self.to_bytes()
        digest = digests.of_bytes(data)
        path = f"{self.spec.folder}/manifest-{digest}.json"
        if not storage.create(path, data) and storage.read(path) != data:
            storage.write(path, data)  # replaces a damaged manifest
        return Stored(storage.uri(path), digest)

    @classmethod
    def read(cls, uri: str, storage: Storage) -> "Manifest":
        """Read and check a committed manifest. Raises UserError if it is missing, changed or of another format."""
        mend = f"extract the features again, or give it up by `mmkgc features gc --forget {digest_of(uri)[:12]}`"
        try:
            data = storage.read(storage.path(uri))
        except FileNotFoundError as error:
            raise UserError(uri, "no such feature manifest", "`mmkgc features list` shows what is there") from error
        if digests.of_bytes(data) != digest_of(uri):
            raise UserError(uri, "the manifest was changed after it was written", mend)
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise UserError(uri, "this is no feature manifest of format 2", mend) from error


def manifest_path(pointer: str, storage: Storage) -> str | None:
    """Path of the manifest that the file ``commit-<request>.json`` points to.

    A damaged pointer is recreated from the manifest beside it with the same request; None if there is no such manifest.
    """
    folder, _, name = pointer.rpartition("/")
    request = name.removeprefix("commit-").removesuffix(".json")
    with suppress(ValueError, TypeError, KeyError):
        digest = json.loads(storage.read(pointer))["manifest"]
        if isinstance(digest, str) and len(digest) == len(request):
            return f"{folder}/manifest-{digest}.json"
    for file in storage.files(f"{folder}/manifest-"):
        with suppress(UserError):
            if Manifest.read(storage.uri(file.path), storage).made_from == request:
                storage.write(pointer, pointer_to(digest_of(file.path)))
                return file.path
    return None


def pointer_to(digest: str) -> bytes:
    """Content of the file that commits a manifest."""
    return json.dumps({"manifest": digest}).encode()


def file_name(kind: str, data: bytes) -> str:
    """The name of a Parquet file with the bytes ``data``."""
    return f"{kind}-{digests.of_bytes(data)}-{zlib.crc32(data):08x}.parquet"


def digest_of(uri: str) -> str:
    """Digest in a manifest's URI."""
    return uri.rsplit("/manifest-", 1)[-1].removesuffix(".json")
