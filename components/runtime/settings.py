"""Where things live on this machine or pod, from environment variables: the same everywhere.

``MMKGC_HOME``           everything that mmkgc writes (default: ``.mmkgc`` in the working folder)
``MMKGC_STORAGE``        the content-addressed store, a folder or ``s3://bucket/prefix`` (``$MMKGC_HOME/store``)
``MMKGC_SCRATCH``        checkpoints and downloads, safe to lose (default: ``$MMKGC_HOME/scratch``)
``MMKGC_DATA``           where datasets that a recipe names, such as DB15K, have their folders (default: ``data``)
``MLFLOW_TRACKING_URI``  MLflow's database or server (default: ``sqlite:///$MMKGC_HOME/mlflow.db``)
"""

import os
from dataclasses import dataclass
from pathlib import Path


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
        home = Path(os.environ.get("MMKGC_HOME", ".mmkgc")).resolve()
        return cls(
            home=home,
            storage=os.environ.get("MMKGC_STORAGE", str(home / "store")),
            scratch=Path(os.environ.get("MMKGC_SCRATCH", home / "scratch")).resolve(),
            data=Path(os.environ.get("MMKGC_DATA", "data")).resolve(),
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'mlflow.db'}"),
        )
