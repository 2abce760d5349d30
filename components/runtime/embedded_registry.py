"""Aliases of the embedded model registry, read from its SQLite file.

Importing MLflow takes longer than loading a model and answering a query. Only MLflow writes to the file.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

VERSION = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
PROMOTED = """
SELECT a.name, coalesce(t.value, v.last_updated_time, 0) FROM registered_model_aliases AS a
JOIN model_versions AS v ON v.name = a.name AND v.version = a.version
LEFT JOIN model_version_tags AS t ON t.name = a.name AND t.version = a.version AND t.key = ?
WHERE a.alias = ?
"""


def version_at(file: Path, name: str, alias: str) -> tuple[str, dict[str, str]] | None:
    """Number and tags of the version of model ``name`` that ``alias`` points to, or None.

    Raises sqlite3.Error if the file is no database of this MLflow version.
    """
    with _opened(file) as database:
        found = database.execute(VERSION, (name, alias)).fetchone()
        return (str(found[0]), dict(database.execute(TAGS, (name, found[0])))) if found else None


def with_alias(file: Path, alias: str, promoted_at: str) -> dict[str, float]:
    """Time of promotion of each model that has ``alias``: the tag ``promoted_at``, else the version's last change."""
    with _opened(file) as database:
        return {name: float(time) for name, time in database.execute(PROMOTED, (promoted_at, alias))}


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """The database, opened for writing: SQLite first undoes the transaction in which a process was killed."""
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=60)) as database:
        yield database
