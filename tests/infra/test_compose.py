"""The compose file starts the programs of the manifests, with the same variables."""

import json
import os
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import boto3
import httpx
import pytest
import yaml

from tests.services.swift import _free_ports

ROOT = Path(__file__).parents[2]
FILE = ROOT / "infra" / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
CONFIG = ROOT / "infra" / "kubernetes" / "base"


def documents(path):
    return list(yaml.safe_load_all((CONFIG / path).read_text()))


def container(path, name):
    found = [each for each in documents(path) if each["kind"] == "Deployment" and each["metadata"]["name"] == name]
    return found[0]["spec"]["template"]["spec"]


def test_mlflow_is_started_as_on_a_cluster():
    pod = container("mlflow/server.yaml", "mlflow")
    server = COMPOSE["services"]["mlflow"]
    assert server["command"] == pod["containers"][0]["command"] + pod["containers"][0]["args"]
    upgrade = COMPOSE["services"]["prepare"]["command"][2].replace("$$", "$")
    assert upgrade.endswith(pod["initContainers"][0]["command"][2])
    (config,) = documents("mlflow/config.yaml")
    own = {key for key in server["environment"] if key.startswith("MLFLOW_")}
    secrets = {"MLFLOW_AUTH_ADMIN_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"}
    assert own | {"MLFLOW_DISABLE_TELEMETRY"} == set(config["data"]) | secrets, "the image switches telemetry off"


def test_serving_has_the_variables_of_the_manifests():
    given = set(COMPOSE["services"]["serve"]["environment"])
    addresses = set(documents("config/configmap.yaml")[0]["data"])
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"}
    assert given == addresses | keys | {"MMKGC_API_KEYS"}


@pytest.mark.parametrize("name", ["prepare", "mlflow", "serve"])
def test_our_images_run_with_nothing_that_they_do_not_need(name):
    service = COMPOSE["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/tmp"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert service["image"].endswith(f":{version}"), "as `make image` tags it"


def test_ports_are_open_to_this_machine_only():
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_variable_must_be_given_and_stands_in_the_instructions():
    given = {"PASSWORD": "p", "SESSION_KEY": "s", "S3_KEY": "k", "S3_SECRET": "t", "API_KEY": "a"}
    text = FILE.read_text()
    used = re.findall(r"(?<!\$)\$\{(.+?)\}", text)
    assert {each.removesuffix(":?") for each in used} == set(given)
    assert all(each.endswith(":?") for each in used), "without it the service would start with an empty password"
    instructions = re.search(r"write infra/\.env: (.+?), a line each", text, re.DOTALL)[1]
    assert set(re.findall(r"\b[A-Z][A-Z_0-9]+\b", instructions)) == set(given)


def test_files_are_mounted_where_podman_compose_and_docker_compose_mount_them():
    assert "configs" not in COMPOSE, "podman-compose ignores them, and MLflow would start without its users' settings"
    mounted = [volume for service in COMPOSE["services"].values() for volume in service.get("volumes", [])]
    files = [volume.split(":") for volume in mounted if volume.startswith("./")]
    assert [(FILE.parent / source).is_file() for source, *_ in files] == [True]
    assert files[0][1] == COMPOSE["services"]["mlflow"]["environment"]["MLFLOW_AUTH_CONFIG_PATH"]


def shell(command, **variables):
    """Run a command of the file as compose hands it to a shell."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables}
    return subprocess.run(["sh", "-c", command.replace("$$", "$")], env=environment, check=True, capture_output=True)


@pytest.fixture
def store():
    """The address of an empty moto, in a process of its own: in this one it would have the buckets of other tests."""
    (port,) = _free_ports(1)
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while not _answers(url):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield url
        server.terminate()


def _answers(url):
    try:
        return httpx.get(f"{url}/moto-api/", timeout=5).is_success
    except httpx.HTTPError:
        return False


def test_the_bucket_is_made_once_and_a_second_start_finds_it(store, monkeypatch):
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_ENDPOINT_URL": store}
    for key, value in keys.items():
        monkeypatch.setenv(key, value)
    s3 = boto3.client("s3", region_name="eu-west-1")
    makes = COMPOSE["services"]["prepare"]["command"][2].partition(" && ")[0]
    shell(makes, **keys)
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == ["mmkgc"]
    s3.delete_bucket(Bucket="mmkgc")
    s3.create_bucket(Bucket="mmkgc", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})  # not made again
    shell(makes, **keys)


def test_the_object_store_gets_its_keys_as_json(tmp_path):
    store = COMPOSE["services"]["s3"]
    identities = store["environment"]["IDENTITIES"].replace("${S3_KEY:?}", "k").replace("${S3_SECRET:?}", "t")
    (command,) = store["command"]
    shell(command.replace("/entrypoint.sh", "true").replace("/tmp/", f"{tmp_path}/"), IDENTITIES=identities)
    (identity,) = json.loads((tmp_path / "s3.json").read_text())["identities"]
    assert identity["credentials"] == [{"accessKey": "k", "secretKey": "t"}]
