"""``mmkgc doctor``: checks this machine or a cluster, and says how to fix what is missing."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import MODULES
from mmkgc.components.runtime.quoting import sqlite_file
from mmkgc.components.runtime.settings import Settings, variable
from mmkgc.components.runtime.tracking_server import SUPPORTED
from mmkgc.pipeline.cli.findings import Finding, report

GIGABYTE = 1 << 30
DISK_NEEDED = 2 * GIGABYTE


@click.command()
@click.option("--cluster", "on_cluster", is_flag=True, help="Check the cluster that runs are submitted to instead.")
@click.option("--host", help="Address of Kubeflow Pipelines, or a cluster's name in clusters.yaml.")
@click.option("--namespace", help="Yours, where Kubeflow has several users.")
def doctor(on_cluster: bool, host: str | None, namespace: str | None) -> None:
    """Check this machine, or a cluster, and say how to fix what is missing."""
    if not on_cluster:
        sys.exit(0 if report(CHECKS) else 1)
    from mmkgc.pipeline.cli.cluster_checks import checks
    from mmkgc.pipeline.runners import clusters

    cluster = clusters.chosen(host, namespace)
    cluster.enter()
    sys.exit(0 if report(checks(cluster)) else 1)


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
    from mmkgc.feature_store.opening import open_storage

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
    from mmkgc.pipeline.runners import clusters
    from mmkgc.pipeline.runners.kubeflow import Kubeflow, Unavailable

    try:
        Kubeflow(clusters.chosen(endpoint)).health()
        yield Finding(True, f"{endpoint} answers (`mmkgc doctor --cluster` looks closer)")
    except (UserError, Unavailable) as error:
        yield Finding(False, str(error), "check KFP_ENDPOINT and the port-forward")


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": _python,
    "compute": _compute,
    "Java": _java,
    "disk": _disk,
    "storage": _storage,
    "MLflow": _mlflow,
    "Kubeflow": _kubeflow,
}
