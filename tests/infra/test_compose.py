"""The compose file starts the programs of the manifests, with the same variables."""

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "infra" / "compose.yaml").read_text())
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
    config, auth = documents("mlflow/config.yaml")
    assert COMPOSE["configs"]["auth"]["content"].splitlines() == [
        line for line in auth["data"]["auth.ini"].splitlines() if not line.startswith("#")
    ]
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
