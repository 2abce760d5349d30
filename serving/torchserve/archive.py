"""A TorchServe model archive (``.mar``): a ZIP of the bundle, a manifest and TorchServe's settings of the model.

``torch-model-archiver`` is not used because it writes the current time into the archive; here equal content gives
equal bytes. The handler is a function of this package, named by its import path, so the archive contains no code and no
pickle.
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmkgc.components.runtime.errors import UserError

HANDLER = "mmkgc.serving.torchserve.handler:handle"
MANIFEST = "MAR-INF/MANIFEST.json"
SETTINGS = "model-config.yaml"
BUNDLE = "bundle"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP can hold


def write_archive(path: Path, files: Mapping[str, Path], name: str, version: str, settings: Mapping[str, Any]) -> None:
    """Write the archive of ``version`` of model ``name``; ``files`` maps names in the bundle to the files to store.

    ``settings`` are TorchServe's per-model keys (``minWorkers``, ``batchSize``, ``maxBatchDelay``, …).
    """
    manifest = {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {"modelName": name, "handler": HANDLER, "modelVersion": version, "configFile": SETTINGS},
        "archiverVersion": "0.12.0",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, MANIFEST, json.dumps(manifest, indent=2).encode())
        _write(archive, SETTINGS, yaml.safe_dump(dict(settings)).encode())
        for inside in sorted(files):
            _write(archive, f"{BUNDLE}/{inside}", files[inside].read_bytes())


def read_manifest(path: Path) -> dict[str, Any]:
    """The ``model`` part of an archive's manifest: modelName, modelVersion, handler. Raises UserError without one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(MANIFEST))["model"]
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        raise UserError(
            path, f"this is no model archive ({error})", "give a .mar file of the `package` step"
        ) from error


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)
