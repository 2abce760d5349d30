"""A PostgreSQL server for tests, with a folder of its own; as root it runs as ``postgres``, since it refuses root."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

USER = "mlflow"


@contextmanager
def postgresql(password: str = "", port: int = 0) -> Iterator[str]:
    """Start a server and yield its URL; ``port`` 0: it listens on a Unix socket only, without a password."""
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
        server = [binaries / "pg_ctl", "-D", data, "-w"]
        listens = f"-h 127.0.0.1 -p {port}" if port else "-h ''"
        subprocess.run([*server, "-o", f"-k {folder} {listens}", "-l", Path(folder) / "log", "start"], **quiet)
        try:
            yield f"postgresql+psycopg://{USER}@/postgres?host={folder}" + (f"&port={port}" if port else "")
        finally:
            subprocess.run([*server, "-m", "immediate", "stop"], **quiet)
