"""What a cluster offers, as processes of this machine, started as the manifests say.

PostgreSQL, MLflow with users, OpenStack Swift as the object store, and the stand-in for Kubeflow Pipelines. Commands,
options and variables are those of the overlay ``dev``; only addresses, ports and secrets are replaced. Each service is
behind a ``Link``, which can be cut.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx

from tests.infra.conftest import KUBERNETES, Manifests, render
from tests.services.kubeflow.pod import Cluster
from tests.services.link import Link
from tests.services.postgresql import postgresql
from tests.services.swift import ACCESS_KEY, SECRET_KEY, _free_ports, swift

ADMIN_PASSWORD = "a long admin password"
PASSWORDS = {"pipeline": "the password of pipeline", "serving": "the password of serving"}
BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[2]


class Production:
    """The running services. ``config`` and ``secrets`` are those of the steps' namespace."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self._stack = folder, stack
        self.manifests = Manifests(render(KUBERNETES / "overlays" / "dev" / "services"))
        database_port, self._mlflow_port = _free_ports(2)
        (folder / "swift").mkdir()
        s3 = stack.enter_context(swift(folder / "swift"))
        self.restart_database = stack.enter_context(postgresql("the password", database_port)).restart
        ports = {"s3": int(s3.rpartition(":")[2]), "database": database_port, "mlflow": self._mlflow_port}
        self.links = {name: stack.enter_context(Link(port)) for name, port in ports.items()}
        self.config = self._data("mmkgc") | {
            "AWS_ENDPOINT_URL": self.links["s3"].url,
            "MLFLOW_TRACKING_URI": self.links["mlflow"].url,
        }
        self.keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
        self.s3 = boto3.client(
            "s3", endpoint_url=s3, region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY,
        )  # fmt: skip
        for bucket in ("mmkgc", "mlpipeline"):
            self.s3.create_bucket(Bucket=bucket)
        self._start_mlflow()

    def cluster(self, folder: Path) -> Cluster:
        """What the steps' pods find."""
        image = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        secrets = {"mmkgc-s3": self.keys, "mmkgc-mlflow": user("pipeline")}
        return Cluster(folder, self.s3, {"mmkgc": self.config}, secrets, image)

    @contextmanager
    def served(self, model: str, keys: Path) -> Iterator[str]:
        """Run the serving container and yield its address once it is ready."""
        container = self.manifests.pods()["mmkgc-serve"]["spec"]["containers"][0]
        (port,) = _free_ports(1)
        given = self._data("mmkgc-serve") | self.config | self.keys | user("serving")
        given |= {"MODEL": model, "MMKGC_API_KEYS_FILE": str(keys), "MMKGC_HOME": str(self.folder / "serving")}
        url = f"http://127.0.0.1:{port}"
        with self._process("serve", container["command"] + _local(container["args"], port), given):
            _await(f"{url}/readyz", 240, self.folder / "serve.log")
            yield url

    def interrupt(self, service: str, seconds: float) -> threading.Thread:
        """Cut the link to ``s3``, ``mlflow`` or ``database``; the thread mends it after ``seconds`` and ends."""
        link = self.links[service]
        link.cut()
        mending = threading.Timer(seconds, link.mend)
        mending.start()
        return mending

    def _start_mlflow(self) -> None:
        pod = self.manifests.pods()["mlflow"]["spec"]
        database = f"127.0.0.1:{self.links['database'].port}/postgres"
        auth = self.folder / "auth.ini"
        auth.write_text(self._data("mlflow-auth")["auth.ini"].replace("postgresql:5432/mlflow", database))
        given = self._data("mlflow") | self.config | self.keys
        given |= {
            "MLFLOW_BACKEND_STORE_URI": given["MLFLOW_BACKEND_STORE_URI"].replace("postgresql:5432/mlflow", database),
            "MLFLOW_AUTH_CONFIG_PATH": str(auth),
            "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{self.links['mlflow'].port}",
            "PGPASSWORD": "the password",
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
        }
        del given["MLFLOW_TRACKING_URI"]
        (upgrade,) = pod["initContainers"]
        command, environment = self._started("upgrade", upgrade["command"], given)
        with (self.folder / "upgrade.log").open("wb") as log:
            subprocess.run(command, env=environment, check=True, stdout=log, stderr=log)
        server = pod["containers"][0]
        command = server["command"] + _local(server["args"], self._mlflow_port)
        self._stack.enter_context(self._process("mlflow", command, given))
        _await(f"{self.links['mlflow'].url}/health", 300, self.folder / "mlflow.log")
        for name, password in PASSWORDS.items():
            made = httpx.post(
                f"{self.links['mlflow'].url}/api/2.0/mlflow/users/create",
                json={"username": name, "password": password},
                auth=("admin", ADMIN_PASSWORD),
                timeout=60,
            )
            made.raise_for_status()

    @contextmanager
    def _process(self, name: str, command: list[str], given: dict[str, str]) -> Iterator[None]:
        expanded = [re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], part) for part in command]
        started, environment = self._started(name, expanded, given)
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen(
            started, env=environment, stdout=log, stderr=log, cwd=self.folder, start_new_session=True
        )
        try:
            yield
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with contextlib.suppress(ProcessLookupError):  # its workers
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _started(self, name: str, command: list[str], given: dict[str, str]) -> tuple[list[str], dict[str, str]]:
        """What starts a container's command on this machine, and its environment."""
        return command, _environment(given)

    def _data(self, name: str) -> dict[str, Any]:
        return dict(self.manifests.of("ConfigMap")[name]["data"])


@contextmanager
def production(folder: Path) -> Iterator[Production]:
    """Start every service below ``folder``; they end with the block."""
    with ExitStack() as stack:
        yield Production(folder, stack)


def user(name: str) -> dict[str, str]:
    """The Secret ``mmkgc-mlflow`` of one of the users."""
    return {"MLFLOW_TRACKING_USERNAME": name, "MLFLOW_TRACKING_PASSWORD": PASSWORDS[name]}


def _local(args: list[str], port: int) -> list[str]:
    """The options of a server, on another port and on loopback."""
    changed = list(args)
    changed[changed.index("--host") + 1] = "127.0.0.1"
    changed[changed.index("--port") + 1] = str(port)
    return changed


def _environment(given: dict[str, str]) -> dict[str, str]:
    path = {"PATH": f"{BIN}:/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))}
    return path | {"HOME": "/tmp", "OMP_NUM_THREADS": "1"} | given


def _await(url: str, seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=20).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"no answer from {url}:\n{log.read_text()[-3000:]}")
