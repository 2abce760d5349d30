"""A PostgreSQL server for tests, with a folder of its own; as root it runs as ``postgres``, since it refuses root."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest

USER = "mlflow"


class Server(NamedTuple):
    """A running server; ``restart`` ends it as a crash would, and starts it again."""

    url: str
    restart: Callable[[], None]


@contextmanager
def postgresql(password: str = "", port: int = 0) -> Iterator[Server]:
    """Start a server; ``port`` 0: it listens on a Unix socket only, without a password."""
    places = [Path("/usr/lib/postgresql"), *map(Path, os.environ["PATH"].split(":"))]
    binaries = next((path.parent for place in places for path in sorted(place.rglob("initdb"))), None)
    if binaries is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    with TemporaryDirectory() as folder:
        data, secret = Path(folder) / "data", Path(folder) / "password"
        secret.write_text(password or "none")
        if user:
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        quiet = {"check": True, "stdout": subprocess.DEVNULL, **user}
        method = "scram-sha-256" if password else "trust"
        made = [binaries / "initdb", "-D", data, "-U", USER, "-A", method, f"--pwfile={secret}"]
        subprocess.run(made, **quiet)
        control = [binaries / "pg_ctl", "-D", data, "-w"]
        listens = f"-h 127.0.0.1 -p {port}" if port else "-h ''"
        options = ["-o", f"-k {folder} {listens}", "-l", Path(folder) / "log"]

        def restart() -> None:
            subprocess.run([*control, *options, "-m", "immediate", "restart"], **quiet)

        subprocess.run([*control, *options, "start"], **quiet)
        try:
            url = f"postgresql+psycopg://{USER}@/postgres?host={folder}" + (f"&port={port}" if port else "")
            yield Server(url, restart)
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
