"""Starts the processes of the steps."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from types import TracebackType

from mmkgc.components.runtime.processes import GRACE_SECONDS


class StepServer:
    """Runs steps in children of a process that has imported what they need (``step_server``).

    It takes the place of kfp's function that starts a process. ``code`` is the exit code of the last step, which kfp
    discards, and ``peak`` the largest memory of one of its processes in bytes.
    """

    def __init__(self) -> None:
        self.code, self.peak = 0, 0
        self._log = TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._control, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            # the executor's name is for lists of processes: a step has the command line of the server that forked it
            command = [sys.executable, "-m", "mmkgc.pipeline.runners.step_server", str(number), "kfp.dsl.executor_main"]
            self._process = subprocess.Popen(command, pass_fds=[number], stdout=self._log, stderr=self._log)

    def __enter__(self) -> "StepServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control.close()  # whereupon the server ends its children and itself
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def __call__(self, full_command: Sequence[str], env_vars: dict[str, str] | None = None) -> int:
        """Run the command, print its output, and return its exit code."""
        request = json.dumps({"command": list(full_command), "environment": os.environ | (env_vars or {})})
        ours, theirs = socket.socketpair()
        read, write = os.pipe()
        told = ""
        with ours, open(read, encoding="utf-8", errors="replace") as output:
            with suppress(ConnectionError):  # the server or the child has ended
                with theirs, open(write, "wb", 0) as written:
                    socket.send_fds(self._control, [b"!"], [theirs.fileno(), written.fileno()])
                ours.sendall(request.encode())
                ours.shutdown(socket.SHUT_WR)
            for line in output:
                print(line, end="")
            with suppress(ConnectionError):
                told = ours.makefile().readline()
        self.code, self.peak = map(int, told.split()) if told else (self._ended(), 0)
        return self.code

    def _ended(self) -> int:
        """Exit code of the server, which ended before the step; its output is printed."""
        code = self._process.wait()
        self._log.seek(0)
        print(self._log.read().decode(errors="replace"))
        return code or 1
