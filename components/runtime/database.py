"""The embedded MLflow database: created completely before it is renamed, by one process at a time."""

import os
import shutil
import sqlite3
from contextlib import closing
from functools import cache
from pathlib import Path

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, locked, set_aside
from mmkgc.components.runtime.quoting import sqlite_url


@cache
def ensure(path: Path) -> None:
    """Create the database if it does not exist; checked once per process.

    An incomplete database without runs, left by a killed process, is set aside: MLflow cannot open it ("table … already
    exists"). Raises UserError for a file that is not a database.
    """
    if path.exists() and not _is_half_made(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_name(f"{path.name}.lock"), f"creating {path}"):
        if path.exists():
            if not _is_half_made(path):  # another process was first
                return
            set_aside(path, "it was not finished when it was made", "a new one is made")
        for left in path.parent.glob(f".{path.name}.*"):  # left by a process that was killed here
            shutil.rmtree(left, ignore_errors=True)
        with atomic_path(path) as temporary:
            _create(temporary)


def _create(path: Path) -> None:
    """Create all tables and the rows that a store adds when first opened, which must not happen concurrently."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(sqlite_url(path), DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
    store.engine.dispose()


def _is_half_made(path: Path) -> bool:
    """Whether tables are missing and there is no run yet; MLflow itself upgrades databases of older versions.

    Opened for writing, since SQLite first undoes the transaction in which a process was killed.
    """
    from mlflow.store.db.utils import Base

    try:
        with closing(sqlite3.connect(path.absolute().as_uri() + "?mode=rw", uri=True, timeout=60)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            used = "runs" in found and database.execute("SELECT 1 FROM runs LIMIT 1").fetchone() is not None
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # no permission, a full disk: the database may be intact
            raise
        mend = "restore it from a backup, or move it away to begin with an empty one"
        raise UserError(path, f"this MLflow database cannot be read ({error})", mend) from error
    return not used and not set(Base.metadata.tables) <= found
