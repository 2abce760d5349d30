"""A PostgreSQL server for tests, with a folder of its own; as root it runs as ``postgres``, since it refuses root."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

USER = "mlflow"


@contextmanager
def postgresql(password: str, port: int) -> Iterator[Callable[[], None]]:
    """Start a server on a port of this machine; yields a function that ends it as a crash would and starts it again."""
    places = [Path("/usr/lib/postgresql"), *map(Path, os.environ["PATH"].split(":"))]
    binaries = next((path.parent for place in places for path in sorted(place.rglob("initdb"))), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    with TemporaryDirectory() as folder:
        data, secret = Path(folder) / "data", Path(folder) / "password"
        secret.write_text(password)
        if user:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, **user}
        made = [binaries / "initdb", "-D", data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(made, **quiet)
        control = [binaries / "pg_ctl", "-D", data, "-w"]
        options = ["-o", f"-k {folder} -h 127.0.0.1 -p {port}", "-l", Path(folder) / "log"]

        def restart() -> None:
            subprocess.run([*control, *options, "-m", "immediate", "restart"], **quiet)

        subprocess.run([*control, *options, "start"], **quiet)
        try:
            yield restart
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
