"""A store in an S3-compatible bucket: pyarrow transfers data, boto3 does conditional writes and listings.

Both retry network errors with exponential backoff for minutes (``runtime.patience``) and take credentials from the
standard AWS chain. Before the first use of a bucket one request asks whether it is there, without retries, so that a
wrong address or password is told within seconds. Endpoint, region and addressing style come from the environment
(``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``MMKGC_S3_PATH_STYLE``).
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    FileSystem,
    LocalFileSystem,
    S3FileSystem,
    SubTreeFileSystem,
    copy_files,
)
from typing_extensions import override

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path
from mmkgc.components.runtime.patience import Away, patience, patiently
from mmkgc.components.runtime.quoting import masked
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.storage import Storage, StorageConfig, Stored, StoredFile, checked_blob

RACES = 8  # attempts of a conditional write among others
LONGEST_PAUSE = 16.0  # seconds between attempts, on average; the clients wait for at most 20
ASK_SECONDS = 4
SETTLE_SECONDS = 0.5
TAKEN = ("PreconditionFailed", "412")
RACING = ("ConditionalRequestConflict", "OperationAborted", "409")
ABSENT = ("NoSuchKey", "404", "NotFound")


class S3Storage(Storage):
    """A prefix of a bucket. A folder is published file by file; its listing, written last, makes it visible."""

    def __init__(self, config: StorageConfig) -> None:
        self.config = config
        self.root = config.root.rstrip("/")
        self.bucket, self.prefix = _place(config)

    @override
    def reach(self) -> None:
        check_bucket(self.config)

    @override
    def publish(self, folder: Path, kind: str) -> Stored:
        digest = digests.of_folder(folder)
        target = f"{kind}/{digest}"
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        if not self.files(f"{target}.json"):
            with self._told(self.uri(target)):
                for name in names:
                    copy_files(str(folder / name), f"{target}/{name}", LocalFileSystem(), self.filesystem)
            self.create(f"{target}.json", json.dumps(names).encode())
        return Stored(self.uri(target), digest)

    @override
    def fetch(self, uri: str) -> Path:
        target = self.path(uri)
        local = Settings.from_env().scratch / "fetched" / target
        if not local.is_dir():
            try:
                names = json.loads(self.read(f"{target}.json"))
            except FileNotFoundError as error:
                raise UserError(uri, "this artifact is not in the store", "run again without cache") from error
            with atomic_path(local) as temporary, self._told(uri):
                for name in names:
                    (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                    copy_files(f"{target}/{name}", str(temporary / name), self.filesystem, LocalFileSystem())
        if digests.of_folder(local) != local.name:
            shutil.rmtree(local)
            raise UserError(uri, "the artifact was changed after it was stored", "delete it and run again")
        return local

    @override
    def put_blob(self, data: bytes) -> str:
        digest = digests.of_bytes(data)
        with self._told(self.uri(_blob_path(digest))):
            self._put_if_absent(_blob_path(digest), data)
        return digest

    @override
    def blob(self, digest: str) -> bytes:
        """Like ``read``, but with boto3, which worker processes can open after a fork."""
        path, data = _blob_path(digest), BytesIO()
        try:
            with self._told(self.uri(path)):
                self.client.download_fileobj(self.bucket, self._key(path), data)
        except FileNotFoundError:
            return checked_blob(None, digest, self.uri(path))
        return checked_blob(data.getvalue(), digest, self.uri(path))

    @override
    def write(self, path: str, data: bytes) -> None:
        with self._told(self.uri(path)), self.filesystem.open_output_stream(path) as stream:
            stream.write(data)

    @override
    def create(self, path: str, data: bytes) -> bool:
        with self._told(self.uri(path)):
            response = self._put_if_absent(path, data)
        if response is None:
            return False
        return not _may_be_overwritten(response) or self._still_holds(path, data)

    @override
    def read(self, path: str) -> bytes:
        with self._told(self.uri(path)), self.filesystem.open_input_file(path) as stream:
            return stream.read()

    @override
    def files(self, prefix: str) -> list[StoredFile]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self._key(prefix))
        root = self._key("")
        with self._told(self.uri(prefix)):
            found = [item for page in pages for item in page.get("Contents", ())]
        return [StoredFile(item["Key"].removeprefix(root), item["Size"], item["LastModified"].timestamp())
                for item in found]  # fmt: skip

    @override
    def delete(self, path: str) -> None:
        with self._told(self.uri(path)):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(path))

    @override
    def uri(self, path: str) -> str:
        return f"{self.root}/{path}"

    @override
    def path(self, uri: str) -> str:
        if not uri.startswith(f"{self.root}/"):
            raise UserError(uri, f"this is not in the store {self.root}", "set MMKGC_STORAGE to the store that has it")
        return uri.removeprefix(f"{self.root}/")

    @property
    @override
    def filesystem(self) -> FileSystem:
        return self._filesystem

    @cached_property
    def client(self) -> Any:
        """The boto3 client, created on first use; each process has its own."""
        check_bucket(self.config)
        return _client(self.config, retries={"mode": "standard", "max_attempts": _attempts()})

    @cached_property
    def _filesystem(self) -> FileSystem:
        check_bucket(self.config)
        os.environ.setdefault("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
        endpoint = urlsplit(self.config.endpoint or "")
        arrow = S3FileSystem(
            region=self.config.region,
            scheme=endpoint.scheme or "https",
            endpoint_override=endpoint.netloc or None,
            force_virtual_addressing=not self.config.addresses_by_path,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_attempts()),
        )
        return SubTreeFileSystem(f"{self.bucket}/{self.prefix}", arrow)

    def _put_if_absent(self, path: str, data: bytes) -> dict[str, Any] | None:
        """The server's response, or ``None`` if the name exists."""
        from botocore.exceptions import ClientError

        for _ in range(RACES):
            try:
                return self.client.put_object(Bucket=self.bucket, Key=self._key(path), Body=data, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) in TAKEN:
                    return None
                if _code(error) not in RACING:
                    raise
        raise UserError(self.uri(path), "other writers kept this name busy", "run again")

    def _still_holds(self, path: str, data: bytes) -> bool:
        """Whether our bytes are still stored after concurrent writers have finished."""
        time.sleep(SETTLE_SECONDS)
        return self.read(path) == data

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    @contextmanager
    def _told(self, uri: str) -> Iterator[None]:
        """Turn errors that a user can correct, such as wrong credentials or endpoints, into ``UserError``."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except FileNotFoundError:
            raise
        except ClientError as error:
            if _code(error) in ABSENT:
                raise FileNotFoundError(uri) from error
            raise UserError(uri, f"the store refused: {error}", "check the credentials and the bucket") from error
        except (BotoCoreError, OSError) as error:
            raise UserError(uri, f"the store does not answer: {error}", "check endpoint and credentials") from error


@cache
def check_bucket(config: StorageConfig) -> None:
    """Raise UserError unless the bucket can be listed; asked once per process, in a step patiently."""
    patiently(lambda: _ask(config))


def _ask(config: StorageConfig) -> None:
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    bucket, prefix = _place(config)
    at = f" at {masked(config.endpoint)}" if config.endpoint else ""
    client = _client(
        config, retries={"mode": "standard", "max_attempts": 1}, connect_timeout=ASK_SECONDS, read_timeout=ASK_SECONDS
    )
    try:
        client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
    except NoCredentialsError as error:
        mend = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        raise UserError(config.root, "there are no credentials for the store", mend) from error
    except ClientError as error:
        raise _refusal(config.root, at, error) from error
    except BotoCoreError as error:
        mend = "start it, or check AWS_ENDPOINT_URL"
        raise Away(config.root, f"the store does not answer{at}: {_reason(error)}", mend) from error


def _refusal(root: str, at: str, error: Any) -> UserError:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status >= 500:
        return Away(root, f"the store does not answer{at}: HTTP {status}", "see its log")
    if status == 404:
        return UserError(root, f"the store{at} has no such bucket", "make it, or check MMKGC_STORAGE")
    if status in (401, 403):
        mend = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the bucket's policy"
        return UserError(root, f"the store{at} refuses these credentials ({_code(error)})", mend)
    return UserError(root, f"the store{at} refused: {error}", "check AWS_ENDPOINT_URL and AWS_REGION")


def _reason(error: Any) -> str:
    """What the operating system said, at the end of botocore's and urllib3's sentences."""
    inner = str(getattr(error, "kwargs", {}).get("error") or error)
    return inner.rpartition(": ")[2].rstrip("')\"") or type(error).__name__


def _place(config: StorageConfig) -> tuple[str, str]:
    """Bucket, and prefix without a slash at its end."""
    bucket, _, prefix = config.root.rstrip("/").removeprefix("s3://").partition("/")
    return bucket, prefix


def _client(config: StorageConfig, **options: Any) -> Any:
    import boto3
    from botocore.config import Config

    style = "path" if config.addresses_by_path else "auto"
    checksums = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    return boto3.session.Session().client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region,
        config=Config(s3={"addressing_style": style}, **checksums, **options),
    )


def _attempts() -> int:
    """Attempts whose pauses, on average half of 1, 2, 4, … seconds, add up to ``patience()``."""
    count, waited = 1, 0.0
    while waited < patience():
        waited += min(2 ** (count - 1) / 2, LONGEST_PAUSE)
        count += 1
    return count


def _blob_path(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"


def _may_be_overwritten(response: dict[str, Any]) -> bool:
    """Whether the server is OpenStack Swift, where two concurrent conditional writes may both succeed.

    Swift checks the condition before it receives the bytes.
    """
    return "x-openstack-request-id" in response["ResponseMetadata"]["HTTPHeaders"]


def _code(error: Any) -> str:
    return str(error.response["Error"]["Code"])
