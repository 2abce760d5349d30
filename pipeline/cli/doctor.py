"""``mmkgc doctor``: what this machine has, what is missing, and how to mend it."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import MODULES
from mmkgc.components.runtime.quoting import masked, printable, sqlite_file
from mmkgc.components.runtime.settings import Settings, variable
from mmkgc.components.runtime.tracking_server import SUPPORTED

GIGABYTE = 1 << 30
DISK_NEEDED = 2 * GIGABYTE


class Finding(NamedTuple):
    """One line of the report: whether it is well, what was found, and how to mend it where it is not."""

    well: bool
    found: str
    mend: str = ""


@click.command()
def doctor() -> None:
    """Say what this machine has, what is missing, and how to mend it."""
    healthy = True
    for name, check in CHECKS.items():
        for finding in check():
            mark = click.style("✓", fg="green") if finding.well else click.style("✗", fg="red")
            click.echo(f"{mark} {name:<9}{_one_line(finding.found)}")
            if not finding.well:
                click.echo(f"            → {finding.mend}")
                healthy = False
    sys.exit(0 if healthy else 1)


def _one_line(found: str) -> str:
    """Without passwords, and without the line breaks of errors."""
    return printable(masked(" ".join(found.split())))


def _python() -> Iterator[Finding]:
    yield Finding(
        sys.version_info >= (3, 11), f"{platform.python_version()} at {sys.executable}", "install Python 3.11 or newer"
    )
    packages = ("torch", "kfp", "mlflow", "pyarrow", "optuna", "transformers", "torchserve")
    yield Finding(True, ", ".join(f"{package} {_version(package)}" for package in packages))
    missing = [extra for extra, modules in MODULES.items() if not all(map(find_spec, modules))]
    needed = ", ".join(missing)
    yield Finding(
        not missing, f"extras missing: {needed}" if missing else "all extras", f"pip install 'mmkgc[{needed}]'"
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(missing)"


def _compute() -> Iterator[Finding]:
    import torch

    from mmkgc.components.train.compilation import lacking

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding(True, f"{os.cpu_count()} cores, " + (", ".join(gpus) if gpus else "no GPU (none is needed)"))
    if gpus:
        reason = lacking(torch.device("cuda"))
        yield Finding(True, f"training goes without torch.compile: {reason}" if reason else "training is compiled")


def _java() -> Iterator[Finding]:
    from mmkgc.serving.torchserve.java import find_java, version_of

    try:
        java = find_java()
        yield Finding(True, f"{version_of(java)} at {java}")
    except UserError as error:
        yield Finding(False, "none that TorchServe runs on", str(error))


def _disk() -> Iterator[Finding]:
    home = Settings.from_env().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    yield Finding(
        free > DISK_NEEDED, f"{free / GIGABYTE:.0f} GB free for {home}", "free some space or set MMKGC_HOME elsewhere"
    )


def _storage() -> Iterator[Finding]:
    from mmkgc.feature_store.storage import open_storage

    root = Settings.from_env().storage
    try:
        storage = open_storage(root)
        digest = storage.put_blob(b"mmkgc doctor")
        yield Finding(storage.blob(digest) == b"mmkgc doctor", f"{root} can be written and read", "check the store")
    except Exception as error:
        yield Finding(False, f"{root}: {error}", "check MMKGC_STORAGE and, for S3, the AWS_* variables")


def _mlflow() -> Iterator[Finding]:
    uri = Settings.from_env().tracking_uri
    file = sqlite_file(uri)
    if file and not file.exists():
        yield Finding(True, f"{uri} will be created by the first run")
        return
    try:
        from mmkgc.components.runtime import tracking

        experiments = tracking.client().search_experiments()
        yield Finding(True, f"{uri}: {len(experiments)} experiments")
    except UserError as error:
        yield Finding(False, str(error), SUPPORTED)
    except Exception as error:
        yield Finding(False, f"{uri}: {error}", "check MLFLOW_TRACKING_URI, and that the server answers")


def _kubeflow() -> Iterator[Finding]:
    endpoint = variable("KFP_ENDPOINT")
    if not endpoint:
        yield Finding(True, "runs are local (KFP_ENDPOINT is not set)")
        return
    try:
        import kfp

        kfp.Client(host=endpoint).get_kfp_healthz()
        yield Finding(True, f"{endpoint} answers")
    except Exception as error:
        yield Finding(False, f"{endpoint}: {error}", "check KFP_ENDPOINT and the port-forward")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": _python,
    "compute": _compute,
    "Java": _java,
    "disk": _disk,
    "storage": _storage,
    "MLflow": _mlflow,
    "Kubeflow": _kubeflow,
}
