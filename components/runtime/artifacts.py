"""Pipeline artifacts as pointers to content in the store.

On a cluster, Kubeflow's launcher uploads every output below its own pipeline root, rejects other URIs, and downloads
inputs completely. An output is therefore a small JSON file at ``artifact.path`` with the URI of the content in the
store. The artifact's metadata, which the next step reads, has the same URI.
"""

import json
from pathlib import Path
from typing import Any

from mmkgc.components.runtime.errors import UserError

REMOTE = ("s3://", "gs://", "minio://", "oci://")


def point(artifact: Any, uri: str, digest: str) -> None:
    """Make an output artifact (``kfp.dsl.Artifact``) point to ``uri`` in the store.

    In a local run the artifact's own URI becomes the store's URI. It is part of the cache key of later steps, so they
    stay cached if a step produces the same content again.
    """
    where = {"stored": uri, "digest": digest}
    path = Path(artifact.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(where) + "\n", encoding="utf-8")
    artifact.metadata.update(where)
    if not artifact.uri.startswith(REMOTE):
        artifact.uri = uri


def stored_uri(artifact: Any) -> str:
    """The store's URI of an input artifact. Raises UserError for an artifact that no mmkgc step produced."""
    if "stored" in artifact.metadata:
        return str(artifact.metadata["stored"])
    try:
        return str(json.loads(Path(artifact.path).read_text(encoding="utf-8"))["stored"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = "this artifact does not say where in the store its content is"
        raise UserError(f"artifact {artifact.name}", what, "run the step that makes it again, without cache") from error


def stored_uris(**artifacts: Any) -> dict[str, str]:
    """URIs of a step's input artifacts; ``None`` stands for an optional input that is absent."""
    return {name: stored_uri(artifact) for name, artifact in artifacts.items() if artifact is not None}
