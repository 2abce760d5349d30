"""A process that imports what the steps need once, and forks a child for each step: ``python -m … SOCKET EXECUTOR``.

Importing PyTorch, MLflow and their dependencies takes a step longer than its work on a small graph. A fork takes a
tenth of a second. This process only imports. It computes nothing, since OpenMP's threads do not survive a fork: a child
of a process that has used them would wait for them forever.

``SOCKET`` is the number of an inherited socket. ``StepServer`` (``step_process``) sends two file descriptors over it
for each step: a connection, from which the child reads its command and environment, and a pipe for its output. At the
end of the child this process writes its exit code and largest memory in bytes to the connection.
"""

import gc
import io
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

EXECUTOR = "kfp.dsl.executor_main"
MODULES = (
    EXECUTOR,
    "mmkgc.components.ingest.ingest",
    "mmkgc.components.runtime.tracking",
    "mlflow.store.tracking.sqlalchemy_store",
    "mmkgc.components.extract.extract",
    "mmkgc.components.train.train",
    "mmkgc.components.evaluate.evaluate",
    "mmkgc.components.register.register",
    "mmkgc.components.propose.propose",
    "mmkgc.components.package.package",
)
"""Imported in this order while no step has to be started; what a single step needs, it imports itself."""
ENVIRONMENT = {"_KFP_RUNTIME": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
"""For kfp without its client, and MLflow without threads."""
KILOBYTE = 1024  # unit of ru_maxrss on Linux


class Output(io.FileIO):
    """Standard output or error, which is a file here and a pipe in a child, where one cannot seek."""

    def seekable(self) -> bool:
        """Return False, so that the text layer above never asks for the position."""
        return False


class Child(Exception):
    """Raised in a forked child, which thereby leaves the server's loop; has the connection and the output."""

    def __init__(self, connection: int, output: int) -> None:
        super().__init__()
        self.connection, self.output = connection, output


class Server:
    """Forks children on request until the other end of ``control`` is closed; then it terminates them."""

    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.children: dict[int, int] = {}
        """Connection of each running child by its process id."""
        self.woken, waker = os.pipe()
        for end in (self.woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)  # ended children write to ``woken``

    def serve(self) -> None:
        """Import ``MODULES`` and start children. Raises ``Child`` in a child."""
        missing, watched = list(MODULES), [self.control.fileno(), self.woken]
        while True:
            ready, _, _ = select.select(watched, [], [], 0 if missing else None)
            if self.woken in ready:
                os.read(self.woken, 4096)
                self._reap()
            if self.control.fileno() in ready:
                word, descriptors, _, _ = socket.recv_fds(self.control, 1, 2)
                if not word:
                    break
                self._start(*descriptors)
            elif missing:
                with suppress(Exception):  # a step that needs the module shows why it cannot be imported
                    import_module(missing.pop(0))
        for child in self.children:
            os.kill(child, signal.SIGTERM)
        self._reap(0)

    def _start(self, connection: int, output: int) -> None:
        gc.collect()
        gc.freeze()  # the collector would write to, and so copy, all pages that a child shares with this process
        child = os.fork()
        if not child:
            for other in self.children.values():
                os.close(other)
            self.control.close()
            raise Child(connection, output)
        os.close(output)
        self.children[child] = connection

    def _reap(self, options: int = os.WNOHANG) -> None:
        """Report the children that have ended; with ``options=0``, wait for all of them."""
        for child, connection in list(self.children.items()):
            ended, status, usage = os.wait4(child, options)
            if ended:
                told = f"{os.waitstatus_to_exitcode(status)} {usage.ru_maxrss * KILOBYTE}\n"
                with suppress(OSError):  # nobody listens any more
                    os.write(connection, told.encode())
                os.close(connection)
                del self.children[child]


def execute(command: list[str]) -> None:
    """Run a step's command: Kubeflow's executor in this process, any other program in its place."""
    match command:
        case ["sh", "-ec", script, source, *arguments] if EXECUTOR in script and sys.platform == "linux":
            with TemporaryDirectory() as folder:
                path = Path(folder) / "ephemeral_component.py"
                path.write_text(source, encoding="utf-8")
                sys.argv = [EXECUTOR, "--component_module_path", str(path), *arguments]
                import_module(EXECUTOR).executor_main()
        case _:
            os.execvpe(command[0], command, os.environ)


def enter(child: Child, interrupt: Any) -> list[str]:
    """Make this child what a new process would be, and return the command to execute."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, interrupt)
    for stream in (1, 2):
        os.dup2(child.output, stream)
    os.close(child.output)
    with socket.socket(fileno=child.connection) as connection, connection.makefile(encoding="utf-8") as file:
        request = json.load(file)
    os.environ.clear()
    os.environ.update(request["environment"] | ENVIRONMENT)
    return request["command"]


def main() -> None:
    """Serve until the command that started this process ends; in a child, run its step."""
    os.environ.update(ENVIRONMENT)
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(Output(number, "w", closefd=False), errors="backslashreplace", write_through=True)
        for number in (1, 2)
    )
    interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the steps and the command itself
    try:
        Server(socket.socket(fileno=int(sys.argv[1]))).serve()
        return
    except Child as child:
        command = enter(child, interrupt)
    execute(command)


if __name__ == "__main__":
    main()
