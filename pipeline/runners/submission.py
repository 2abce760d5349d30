"""Converts a recipe to a run or a schedule of a Kubeflow cluster."""

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from mmkgc.components.ingest import increments
from mmkgc.components.ingest.source import fingerprint
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.feature_store.opening import open_storage
from mmkgc.pipeline import inputs
from mmkgc.pipeline.config import Recipe
from mmkgc.pipeline.runners.clusters import Cluster
from mmkgc.pipeline.runners.kubeflow import Kubeflow


def body(
    recipe: Recipe, kubeflow: Kubeflow, name: str | None, experiment: str | None, cache: bool, given: Mapping[str, str]
) -> dict[str, Any]:
    """The request body of a run: publishes the inputs to the store, compiles the pipeline and sets its parameters.

    ``given`` overrides parameters. Raises UserError for a missing input, and if no image is configured.
    """
    cluster = kubeflow.cluster
    image = image_of(cluster)
    published = inputs.publish(recipe, open_storage())
    document = compiled(published, image)
    if not cache:
        forget_cache(document["pipeline_spec"])
    refuse_local_paths(document, inputs.local_inputs(recipe))
    runtime: dict[str, Any] = {"parameters": _parameters(published, image) | _checked(document, given)}
    runtime |= {"pipeline_root": cluster.pipeline_root} if cluster.pipeline_root else {}
    return {
        "experiment_id": kubeflow.experiment(experiment or recipe.name),
        "display_name": name or f"{recipe.name} {time.strftime('%Y-%m-%d %H:%M:%S')}",
        "description": f"{recipe.train.label} on {recipe.dataset}",
        "pipeline_spec": document,
        "runtime_config": runtime,
        "plugins_input": {"mlflow": {"experiment_name": recipe.name}},
        **({"service_account": cluster.service_account} if cluster.service_account else {}),
    }


def compiled(recipe: Recipe, image: str | None = None) -> dict[str, Any]:
    """Pipeline and platform specification of a recipe, as the API expects them."""
    from kfp import compiler

    from mmkgc.pipeline import dag
    from mmkgc.pipeline.runners import cluster

    pipeline = dag.build(recipe, cluster.prepare(recipe, image), cluster.pipeline_config(recipe))
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "pipeline.yaml"
        compiler.Compiler().compile(pipeline, str(path))
        spec, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return {"pipeline_spec": spec, "platform_spec": platform}


def image_of(cluster: Cluster) -> str:
    """The image of the steps. Raises UserError if none is configured, or nodes cannot pull it."""
    image = os.environ.get("MMKGC_IMAGE") or cluster.image
    mend = "set MMKGC_IMAGE, or `image:` of the cluster, to REGISTRY/mmkgc@sha256:… (infra/README.md)"
    if not image:
        raise UserError("image", "none is named for the steps", mend)
    if "/" not in image:
        raise UserError(f"image {image}", "without a registry, nodes would look for it on Docker Hub", mend)
    return image


def forget_cache(spec: dict[str, Any]) -> None:
    """Disable caching for all tasks. (Enabling it for all would skip evaluation and registration.)"""
    for component in (spec["root"], *spec["components"].values()):
        for task in component.get("dag", {}).get("tasks", {}).values():
            task["cachingOptions"] = {}


def refuse_local_paths(document: dict[str, Any], found: list[inputs.LocalInput]) -> None:
    """Raise UserError if the pipeline still contains the path of a local file."""
    text = json.dumps(document, ensure_ascii=False)
    for key, path in found:
        if str(path.resolve()) in text:
            raise UserError(f"{key} {path}", "the pipeline names a path of this machine", "this is a fault of mmkgc")


def _parameters(recipe: Recipe, image: str) -> dict[str, str]:
    """Inputs that must be part of cache keys: fingerprint of the data, and digest of the image or else of the code."""
    data = fingerprint(recipe.dataset) + increments.fingerprint(recipe.ingest.increments)
    digest = re.search(r"@sha256:([0-9a-f]{64})$", image)
    return {"data": data, "code": digest[1] if digest else digests.of_code()}


def _checked(document: dict[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    known = document["pipeline_spec"]["root"].get("inputDefinitions", {}).get("parameters", {})
    for name in given:
        if name not in known:
            raise UserError(f"--param {name}", "the pipeline has no such parameter", did_you_mean(name, known))
    return dict(given)
