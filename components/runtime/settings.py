"""Locations of files and services, from environment variables.

``MMKGC_HOME``           everything that mmkgc writes (default: ``.mmkgc`` in the working folder)
``MMKGC_STORAGE``        the content-addressed store, a folder or ``s3://bucket/prefix`` (``$MMKGC_HOME/store``)
``MMKGC_SCRATCH``        checkpoints and downloads, safe to lose (default: ``$MMKGC_HOME/scratch``)
``MMKGC_DATA``           folder of the datasets named in recipes, such as DB15K (default: ``data``)
``MLFLOW_TRACKING_URI``  MLflow's database or server (default: ``sqlite:///$MMKGC_HOME/mlflow.db``)
``MMKGC_PATIENCE_SECONDS``  how long a step waits for a service that does not answer (300: ``patience``)
``MMKGC_DEBUG``          show the traceback of an error (default: not)

An empty variable counts as not set, because compose files and manifests set every variable that they name. ``~`` is the
home folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mmkgc.components.runtime.quoting import sqlite_url

SCHEME = "://"
DEBUG = "MMKGC_DEBUG"


def variable(name: str) -> str | None:
    """The value of an environment variable; None where it is not set, empty or blank."""
    return os.environ.get(name, "").strip() or None


def folder(path: str | Path) -> Path:
    """The absolute path of a folder as a user writes it."""
    return Path(os.path.expanduser(path)).resolve()


@dataclass(frozen=True)
class Settings:
    """The resolved locations."""

    home: Path
    storage: str
    scratch: Path
    data: Path
    tracking_uri: str

    @classmethod
    def from_env(cls) -> "Settings":
        """Read the environment variables; nothing is created."""
        home = folder(variable("MMKGC_HOME") or ".mmkgc")
        storage = variable("MMKGC_STORAGE") or str(home / "store")
        return cls(
            home=home,
            storage=storage if SCHEME in storage else os.path.expanduser(storage),
            scratch=folder(variable("MMKGC_SCRATCH") or home / "scratch"),
            data=folder(variable("MMKGC_DATA") or "data"),
            tracking_uri=variable("MLFLOW_TRACKING_URI") or sqlite_url(home / "mlflow.db"),
        )
