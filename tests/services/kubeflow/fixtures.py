"""The stand-in for Kubeflow Pipelines, with moto's S3 server as its object store."""

import os
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.services.kubeflow.api import KubeflowPipelines
from tests.services.kubeflow.pod import Cluster

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A server with the buckets of the pipelines and of the store."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for bucket in ("mlpipeline", "bucket"):
        _client(endpoint).create_bucket(Bucket=bucket)
    yield endpoint
    server.stop()


def _client(endpoint: str):
    session = boto3.Session(KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")
    return session.client("s3", endpoint_url=endpoint)


@pytest.fixture
def cluster(s3_endpoint: str, tmp_path: Path) -> Cluster:
    """Manifests as a user fills them in; the image holds this checkout."""
    image = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    config = {
        "MMKGC_STORAGE": f"s3://bucket/{tmp_path.name}",
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_REGION": "us-east-1",
    }
    return Cluster(tmp_path, _client(s3_endpoint), {"mmkgc": config}, {"mmkgc-s3": KEYS}, image)


@pytest.fixture
def kubeflow(cluster: Cluster) -> Iterator[KubeflowPipelines]:
    """A cluster that asks for a token."""
    with KubeflowPipelines(cluster, token="secret") as standing:
        yield standing
