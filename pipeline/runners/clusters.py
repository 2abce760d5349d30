"""Selects a cluster and its credentials, from ``~/.config/mmkgc/clusters.yaml`` and the environment.

The file defines named clusters. It contains no secrets, only references to them::

    default: prod
    clusters:
      prod:
        host: https://kubeflow.example.org/pipeline
        namespace: team
        token_file: ~/.config/mmkgc/prod.token
        storage: s3://mmkgc/store
        mlflow: https://mlflow.example.org
        image: registry.example.org/mmkgc@sha256:…
"""

import os
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmkgc.components.runtime import yaml_text
from mmkgc.components.runtime.errors import UserError, did_you_mean

SERVICE_ACCOUNT_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
SECRETS = ("token", "cookie", "password", "secret", "access_key")


class Cluster(BaseModel):
    """A cluster: its address, store, MLflow server, and the source of the user's token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = Field(description="address of Kubeflow Pipelines, as a browser has it")
    namespace: str | None = Field(None, description="the user's, where Kubeflow has several")
    token_file: str | None = Field(None, description="file with a bearer token, read anew at each call")
    token_env: str = Field("KFP_TOKEN", description="variable with a bearer token")
    cookie_env: str = Field("KFP_COOKIE", description="variable with a session's cookie, such as authservice_session=…")
    storage: str | None = Field(None, description="the store that pods read: s3://bucket/prefix")
    endpoint: str | None = Field(None, description="address of an object store other than AWS, as this machine sees it")
    region: str | None = Field(None, description="of the object store")
    mlflow: str | None = Field(None, description="address of MLflow, as this machine sees it")
    image: str | None = Field(None, description="image of the steps, best by digest")
    service_account: str | None = Field(None, description="that the pods run as")
    pipeline_root: str | None = Field(None, description="where Kubeflow puts artifacts; default: the cluster's own")

    def headers(self) -> dict[str, str]:
        """HTTP headers that authenticate the user. Raises UserError if the token file cannot be read."""
        if token := os.environ.get(self.token_env):
            return {"Authorization": f"Bearer {token}"}
        file = Path(self.token_file).expanduser() if self.token_file else _service_account_token()
        if file:
            try:
                return {"Authorization": f"Bearer {file.read_text(encoding='utf-8').strip()}"}
            except OSError as error:
                raise UserError(file, f"the token cannot be read ({error.strerror})", "check token_file") from error
        cookie = os.environ.get(self.cookie_env)
        return {"Cookie": cookie} if cookie else {}

    def enter(self) -> None:
        """Set this process's environment variables to the cluster's store and MLflow server."""
        variables = {
            "MMKGC_STORAGE": self.storage,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": self.region,
            "MLFLOW_TRACKING_URI": self.mlflow,
        }
        os.environ.update({name: value for name, value in variables.items() if value})


def chosen(host: str | None, namespace: str | None = None) -> Cluster:
    """The cluster with an address or name ``host``; by default ``KFP_ENDPOINT``, else the file's default.

    Raises UserError if no cluster is named, and for an invalid file.
    """
    known, default = _known()
    wanted = host or os.environ.get("KFP_ENDPOINT") or default
    if not wanted:
        raise UserError("cluster", "none is named", f"give --host ADDRESS, set KFP_ENDPOINT, or name one in {path()}")
    if wanted in known:
        cluster = known[wanted]
    elif "://" in wanted:
        cluster = next((each for each in known.values() if each.host == wanted), Cluster(host=wanted))
    elif "." in wanted or ":" in wanted:
        cluster = Cluster(host=f"https://{wanted}")
    else:
        mend = did_you_mean(wanted, known) if known else f"give an address, or name clusters in {path()}"
        raise UserError(f"--host {wanted}", "no cluster of this name", mend)
    return cluster.model_copy(update={"namespace": namespace}) if namespace else cluster


def path() -> Path:
    """The file of named clusters."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "mmkgc" / "clusters.yaml"


def _known() -> tuple[dict[str, Cluster], str | None]:
    file = path()
    if not file.is_file():
        return {}, None
    try:
        content = yaml_text.load(file.read_text(encoding="utf-8")) or {}
        entries, default = content.get("clusters", {}), content.get("default")
        for name, entry in entries.items():
            if found := next((key for key in entry if key in SECRETS), None):
                what = "no secrets in this file"
                raise UserError(f"{file}, {name}.{found}", what, "name a file (token_file) or a variable (token_env)")
        known = {name: Cluster.model_validate(entry) for name, entry in entries.items()}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{file}, {name}.{where}", first["msg"], f"keys: {', '.join(Cluster.model_fields)}") from error
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise UserError(file, "not `clusters:` by name, each with a `host:`", str(error).splitlines()[0]) from error
    if default is not None and default not in known:
        raise UserError(f"{file}, default", f"no cluster '{default}'", did_you_mean(str(default), known))
    return known, default


def _service_account_token() -> Path | None:
    """Token file for Kubeflow Pipelines that Kubernetes mounts into a pod, such as a notebook's; None elsewhere."""
    file = Path(os.environ.get("KF_PIPELINES_SA_TOKEN_PATH") or SERVICE_ACCOUNT_TOKEN)
    return file if file.is_file() else None
