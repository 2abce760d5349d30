import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from mmkgc.feature_store.opening import open_storage
from mmkgc.feature_store.parts import FAILED, OK, Row
from mmkgc.feature_store.spec import FeatureSpec
from mmkgc.feature_store.storage import Storage, Stored
from mmkgc.feature_store.writer import Entity, FeatureWriter

SERVICE = runpy.run_path(str(Path(__file__).parents[1] / "services" / "swift.py"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's own folders or credentials."""
    monkeypatch.setenv("MMKGC_HOME", str(tmp_path / "home"))
    for name in ("MMKGC_STORAGE", "MMKGC_SCRATCH", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def moto(moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of a bucket of moto's server."""
    return _prefix(moto_endpoint, "any", "any", tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def swift_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not (SERVICE["SWIFT"] / "swift-proxy-server").exists():
        pytest.skip("OpenStack Swift is not installed: run tests/services/swift.sh")
    with SERVICE["swift"](tmp_path_factory.mktemp("swift")) as endpoint:
        yield endpoint


@pytest.fixture
def swift(swift_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of a bucket of a real S3 server."""
    return _prefix(swift_endpoint, SERVICE["ACCESS_KEY"], SERVICE["SECRET_KEY"], tmp_path, monkeypatch)


def _prefix(endpoint: str, access: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": access, "SECRET_ACCESS_KEY": secret}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    client = boto3.Session().client("s3", region_name="us-east-1")
    if "bucket" not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket="bucket")
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture(params=["local", "moto", pytest.param("swift", marks=pytest.mark.service("swift"))])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    """Each kind of store in turn."""
    return open_storage(str(tmp_path / "store") if request.param == "local" else request.getfixturevalue(request.param))


@pytest.fixture
def local(tmp_path: Path) -> Storage:
    return open_storage(str(tmp_path / "store"))


def _spec(dimension: int = 4, dtype: str = "float32", output: str = "pooled") -> FeatureSpec:
    identity = {"encoder": "toy", "weights": "random", "seed": 0, "sha256": "0" * 64}
    return FeatureSpec("visual", identity | {"dimension": dimension, "output": output}, dtype)


@pytest.fixture(scope="session")
def spec() -> Callable[..., FeatureSpec]:
    """Makes the identity of a toy encoder."""
    return _spec


@pytest.fixture(scope="session")
def commit() -> Callable[..., Stored]:
    """Commits a vector (``None``: failed) an entity; the content is named after the entity."""

    def committed(storage: Storage, vectors: dict[str, np.ndarray | None], spec: FeatureSpec | None = None) -> Stored:
        writer = FeatureWriter(spec or _spec(), storage)
        known = writer.known()
        new = {key: vector for key, vector in vectors.items() if f"content of {key}" not in known}
        writer.add(
            Row(key, f"content of {key}", vector, 1, FAILED if vector is None else OK, "bad" if vector is None else "")
            for key, vector in new.items()
        )
        return writer.commit([Entity(key, f"content of {key}") for key in vectors])

    return committed
