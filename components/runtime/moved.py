"""Corrects the places in the embedded MLflow database after ``$MMKGC_HOME`` was moved or renamed.

MLflow stores absolute addresses of artifacts. If the folder that they name is gone, and its content is beside the
database, the addresses get the new folder.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote

ARTIFACTS = "mlartifacts"
ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Columns with addresses below the folder of artifacts."""
PATHS = (("tags", "value"), ("logged_model_tags", "tag_value"), ("model_version_tags", "value"))
"""Columns with paths below the store, among other values."""


def follow(database: Path, home: Path) -> bool:
    """Correct the database if the home has moved to ``home``; whether it had."""
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        old = _old_home(connection, home)
        if old is None:
            return False
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}  # older MLflow has fewer
        with connection:  # all or nothing
            for columns, before, after in ((ADDRESSES, old.as_uri(), home.as_uri()), (PATHS, str(old), str(home))):
                for table, column in (one for one in columns if one[0] in tables):
                    change = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"
                    connection.execute(change, (after, len(before) + 1, len(before) + 1, f"{before}/"))
        return True


def _old_home(connection: sqlite3.Connection, home: Path) -> Path | None:
    """The folder that the addresses name, if it is gone and its artifacts are in ``home``."""
    for (address,) in connection.execute("SELECT artifact_location FROM experiments ORDER BY last_update_time DESC"):
        folder, found, experiment = str(address).rpartition(f"/{ARTIFACTS}/")
        old = Path(unquote(folder.removeprefix("file://")))
        gone = found and folder.startswith("file:///") and old != home and not old.exists()
        if gone and (home / ARTIFACTS / unquote(experiment)).is_dir():
            return old
    return None
