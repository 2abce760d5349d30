"""Checks of ``mmkgc doctor --cluster``: what a submitted run needs, as far as it is visible from this machine."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from uuid import uuid4

import httpx

from mmkgc.components.runtime import pod_settings as pods
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.settings import Settings
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline.cli.findings import Finding
from mmkgc.pipeline.runners.clusters import Cluster
from mmkgc.pipeline.runners.kubeflow import Kubeflow, Unavailable
from mmkgc.pipeline.runners.submission import image_of

SECONDS = 8.0
MLFLOW_LEAST = (3, 0)


def checks(cluster: Cluster) -> dict[str, Callable[[], Iterator[Finding]]]:
    """The checks of a cluster by name."""
    looks = {"Kubeflow": _kubeflow, "image": _image, "store": _store, "MLflow": _mlflow, "secrets": _secrets}
    return {name: partial(look, cluster) for name, look in looks.items()}


def _kubeflow(cluster: Cluster) -> Iterator[Finding]:
    kubeflow = Kubeflow(cluster)
    try:
        several = kubeflow.health().get("multi_user")
        place = f", namespace {cluster.namespace}" if cluster.namespace else ""
        if several and not cluster.namespace:
            yield Finding(
                False, f"{cluster.host} has several users", "give --namespace, or `namespace:` of the cluster"
            )
            return
        yield Finding(True, f"{cluster.host} answers{place}; {counted(len(kubeflow.runs(100)), 'run')} can be seen")
    except (UserError, Unavailable) as error:
        yield _refused(error, "check address, token and namespace")


def _image(cluster: Cluster) -> Iterator[Finding]:
    try:
        image = image_of(cluster)
    except UserError as error:
        yield _refused(error, "push an image and name it")
        return
    if "@sha256:" in image:
        yield Finding(True, image)
    else:
        yield Finding(True, f"{image} (a tag can be moved: a digest says which code ran)")


def _store(_cluster: Cluster) -> Iterator[Finding]:
    root = Settings.from_env().storage
    if not root.startswith("s3://"):
        yield Finding(False, f"{root} is a folder of this machine", "set MMKGC_STORAGE or `storage:` to s3://bucket/…")
        return
    path = f"doctor/{uuid4().hex}"
    try:
        storage = open_storage(root)
        first, second = storage.create(path, b"mmkgc"), storage.create(path, b"other")
        whole = storage.read(path) == b"mmkgc"
        storage.delete(path)
    except (UserError, OSError) as error:
        yield _refused(error, "check bucket, endpoint (AWS_ENDPOINT_URL) and keys (AWS_*)")
        return
    yield Finding(whole, f"{root} can be written, read and deleted", "check the bucket's policy")
    yield Finding(first and not second, "of two writers of one name one wins", "use a store with conditional writes")


def _mlflow(_cluster: Cluster) -> Iterator[Finding]:
    uri = Settings.from_env().tracking_uri
    if not uri.startswith("http"):
        yield Finding(
            False, f"{uri} is of this machine", "set MLFLOW_TRACKING_URI or `mlflow:` to the server's address"
        )
        return
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    try:
        with httpx.Client(
            base_url=uri,
            timeout=SECONDS,
            auth=(user, password) if user and password else None,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        ) as http:
            version = http.get("/version")
            found = http.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1})
    except httpx.HTTPError as error:
        yield Finding(False, f"{uri}: no answer ({error})", "check MLFLOW_TRACKING_URI and the port-forward")
        return
    if found.status_code in (401, 403):
        mend = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        yield Finding(False, f"{uri}: answers {found.status_code}", mend)
    elif found.is_error:
        yield Finding(False, f"{uri}: answers {found.status_code}", "upgrade its database: mlflow db upgrade URI")
    else:
        number = version.text.strip() if version.is_success else "of unknown version"
        old = number[:1].isdigit() and tuple(int(part) for part in number.split(".")[:2]) < MLFLOW_LEAST
        yield Finding(not old, f"{uri}: MLflow {number} lets you in", "mmkgc needs MLflow 3")


def _secrets(cluster: Cluster) -> Iterator[Finding]:
    """Check the ConfigMap and the Secrets of the namespace, if ``kubectl`` has access."""
    if not shutil.which("kubectl"):
        yield Finding(True, "not looked at: there is no kubectl here")
        return
    namespace = cluster.namespace or "kubeflow"
    try:
        config = _keys("configmap", pods.CONFIG, namespace)
    except ConnectionError as error:
        yield Finding(True, f"not looked at: kubectl says {error}")
        return
    if config is None:
        mend = "kubectl apply -k infra/kubernetes/overlays/dev/steps, filled in"
        yield Finding(False, f"there is no configmap {pods.CONFIG} in {namespace}", mend)
    else:
        missing = sorted(set(pods.CONFIG_KEYS) - config)
        yield Finding(not missing, f"configmap {pods.CONFIG}: {', '.join(missing) or 'every key'}", "add these keys")
    for secret, keys in pods.OPTIONAL_SECRETS.items():
        yield Finding(True, f"secret {secret}: {_said(secret, keys, namespace)}")


def _said(secret: str, keys: Iterable[str], namespace: str) -> str:
    """Which of the keys a Secret has; an account that sees the ConfigMap may have no access to Secrets."""
    try:
        found = _keys("secret", secret, namespace)
    except ConnectionError as error:
        return f"not looked at: kubectl says {error}"
    return "not there (it is optional)" if found is None else f"has {', '.join(sorted(found & set(keys))) or 'none'}"


def _refused(error: Exception, mend: str) -> Finding:
    """A failed check from an error, with the error's own advice if it has one, else ``mend``."""
    what, _, own = str(error).partition(" — ")
    return Finding(False, what, own or mend)


def _keys(kind: str, name: str, namespace: str) -> set[str] | None:
    """Keys of a ConfigMap or Secret; None if it does not exist. Raises ConnectionError if kubectl has no access."""
    command = ["kubectl", "get", kind, name, "-n", namespace, "-o", "json", f"--request-timeout={SECONDS:.0f}s"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS + 2, check=False)
    except subprocess.TimeoutExpired as error:
        raise ConnectionError("nothing") from error
    if found.returncode == 0:
        return set(json.loads(found.stdout).get("data", {}))
    if "NotFound" in found.stderr:
        return None
    raise ConnectionError((found.stderr.strip().splitlines() or ["nothing"])[-1][:120])
