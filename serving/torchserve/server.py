"""Starts a TorchServe process on the loopback interface, waits until its workers are ready, and stops it.

Each instance has its own temporary folder, ports, logs and pid file, so several can run at once. Every user of the
machine can connect to loopback ports. Predictions and management, over HTTP or gRPC, therefore require a token, which
TorchServe generates at start and stores in the instance's private folder. HTTP management uses a socket in that folder
instead of a port. Metrics need no token. Java is started directly, because TorchServe's launcher would orphan it.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

import httpx

from mmkgc.components.runtime import processes
from mmkgc.components.runtime.files import read_json, write_text
from mmkgc.components.runtime.quoting import java_properties
from mmkgc.serving.torchserve.archive import read_manifest
from mmkgc.serving.torchserve.java import find_java

START_SECONDS = 180.0
STOP_SECONDS = 20.0
TRIES = 3  # each with new ports, if another program has taken one in the meantime
MAX_BYTES = 64_000_000
TOKENS = "key_file.json"
TOKEN_MINUTES = 10 * 365 * 24 * 60  # longer than any instance runs
FATAL = {
    "Backend worker process died": "the model's worker died while it loaded",
    "Worker died": "the model's worker died while it loaded",
    "Failed to load model": "the model's archive was not loaded",
}
"""Words of the log after which TorchServe runs on, but never becomes ready."""
HERE = Path(__file__).parent
ROOT = HERE.parents[2]


class ServerError(Exception):
    """TorchServe did not start. The message ends with the last lines of its logs."""


class _PortTaken(ServerError):
    """Another program listens on one of the ports."""


class TorchServe:
    """A TorchServe instance with one model, as a context manager.

    ``workers`` overrides the archive's setting. With ``port`` 0 a free port is chosen, which is known once ``start``
    has returned. ``start`` raises ``ServerError``.
    """

    def __init__(self, archive: Path, workers: int | None = None, port: int = 0, java: Path | None = None) -> None:
        self.archive, self.java = archive.resolve(), java or find_java()
        manifest = read_manifest(self.archive)
        self.model, self.version = manifest["modelName"], manifest["modelVersion"]
        self.workers, self._port = workers, port
        # /tmp and not TMPDIR: a socket's path has at most 107 characters
        self.folder = processes.private_folder("/tmp")
        self.log = self.folder / "logs" / "torchserve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._choose_ports()

    @property
    def predictions_url(self) -> str:
        """URL to which requests of ``mmkgc.serving.api.protocol`` are posted."""
        return f"{self.url}/predictions/{self.model}"

    @property
    def token(self) -> str:
        """Token for predictions (``Authorization: Bearer``); it changes each time TorchServe starts."""
        return self._token("inference")

    @property
    def headers(self) -> dict[str, str]:
        """The token as HTTP headers."""
        return {"authorization": f"Bearer {self.token}"}

    def start(self) -> "TorchServe":
        """Start TorchServe and wait until every worker has loaded the model."""
        try:
            for _ in range(TRIES - 1):
                with contextlib.suppress(_PortTaken):
                    return self._started()
                self._choose_ports()
            return self._started()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop this instance only, and remove its folder."""
        if self.process is not None:
            workers = self.worker_pids() if self.process.poll() is None else []
            stop_process(self.process)
            for pid in workers:  # they exit when Java's connection closes; one that hangs is killed here
                _wait_for_end(pid)
        processes.remove(self.folder)

    def worker_pids(self) -> list[int]:
        """Process ids of the model's workers."""
        return [worker["pid"] for worker in self._workers()]

    def wait(self) -> int:
        """Block until TorchServe exits by itself, and return its exit code."""
        assert self.process is not None
        return self.process.wait()

    def __enter__(self) -> "TorchServe":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _choose_ports(self) -> None:
        ports = free_ports(4)
        self.url = f"http://127.0.0.1:{self._port or ports[0]}"
        self.metrics_url = f"http://127.0.0.1:{ports[1]}/metrics"
        self.grpc_port, self.grpc_management_port = ports[2:]

    def _started(self) -> "TorchServe":
        self._launch()
        self._wait_until_ready()
        return self

    def _launch(self) -> None:
        import ts

        frontend = Path(ts.__file__).parent / "frontend"
        shutil.rmtree(self.log.parent, ignore_errors=True)  # left over from an earlier try
        for left in (self._management_socket, self.folder / TOKENS):
            left.unlink(missing_ok=True)
        self.log.parent.mkdir()
        write_text(self.folder / "config.properties", self._properties())
        command = [
            str(self.java),
            "-Xmx512m",
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),  # Java only forwards requests: fast warm-up, few threads
            f"-Dmodel_server_home={frontend.parents[1]}",
            f"-Djava.io.tmpdir={self.folder}",
            f"-Dlog4j.configurationFile={(HERE / 'log4j2.xml').as_uri()}",
            *("-cp", f"{frontend}/*", "org.pytorch.serve.ModelServer"),
            *("--python", sys.executable, "-f", str(self.folder / "config.properties"), "-ncs"),
        ]
        with (self.folder / "logs" / "console.log").open("wb") as console:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self._environment(),
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        write_text(self.folder / "pid", str(self.process.pid))

    def _environment(self) -> dict[str, str]:
        threads = max(1, (os.cpu_count() or 1) // (self.workers or 1))
        python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = {
            "TMPDIR": str(self.folder),
            "TEMP": str(self.folder),
            "LOG_LOCATION": str(self.log.parent),
            "LC_ALL": "C.UTF-8",  # in the C locale of many containers, Java cannot open non-ASCII paths
            "PYTHONPATH": python_path,
        }
        # waiting threads must sleep, so that the gateway and Java get the cores
        return {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"} | os.environ | own

    def _properties(self) -> str:
        settings = {
            "inference_address": self.url,
            "management_address": f"unix:{self._management_socket}",
            "metrics_address": self.metrics_url.removesuffix("/metrics"),
            "grpc_inference_address": "127.0.0.1",
            "grpc_inference_port": self.grpc_port,
            "grpc_management_address": "127.0.0.1",
            "grpc_management_port": self.grpc_management_port,
            "model_store": self.archive.parent,
            "load_models": self.archive.name,
            "allowed_urls": f"file://{re.escape(str(self.archive.parent))}/.*",
            "disable_token_authorization": "false",
            "token_expiration_min": TOKEN_MINUTES,
            "enable_model_api": "false",
            "enable_envvars_config": "false",
            "ts_open_inference_protocol": "true",
            "metrics_mode": "prometheus",
            "metrics_config": HERE / "metrics.yaml",
            "disable_system_metrics": "true",
            "max_request_size": MAX_BYTES,
            "max_response_size": MAX_BYTES,
            "job_queue_size": 1000,
        }
        if self.workers:
            settings["default_workers_per_model"] = self.workers
        return java_properties(settings)

    @property
    def _management_socket(self) -> Path:
        return self.folder / "management.sock"

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process is not None
            if self.process.poll() is not None:
                failure = self._failure(f"TorchServe ended with code {self.process.returncode}")
                raise _PortTaken(str(failure)) if "Address already in use" in str(failure) else failure
            written = self._log_text()
            if what := next((what for words, what in FATAL.items() if words in written), None):
                raise self._failure(what)
            if (states := [worker["status"] for worker in self._workers()]) and set(states) == {"READY"}:
                return
            time.sleep(0.1)
        raise self._failure(f"no worker was ready within {START_SECONDS:.0f} s")

    def _workers(self) -> list[dict]:
        with contextlib.suppress(httpx.HTTPError, FileNotFoundError, ValueError):  # still starting
            headers = {"authorization": f"Bearer {self._token('management')}"}
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self._management_socket)), timeout=5) as client:
                answer = client.get(f"http://management/models/{self.model}", headers=headers)
            if answer.status_code == 200:
                return answer.json()[0]["workers"]
        return []

    def _token(self, kind: str) -> str:
        return read_json(self.folder / TOKENS)[kind]["key"]

    def _log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _failure(self, what: str) -> ServerError:
        console = (self.folder / "logs" / "console.log").read_text(errors="replace")
        tail = (console + self._log_text()).splitlines()[-40:]
        return ServerError("\n".join([f"{what}; the end of its log:", *tail]))


def stop_process(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a child process, and kill it if it does not exit in time."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Distinct ports on which no program listens at the moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + 5
    with contextlib.suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
