"""A version in the registry: a LoggedModel that contains the bundle, with its lineage in the tags."""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.register.card import CARD, card, graph_card
from mmkgc.components.runtime import digests
from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime.files import write_text
from mmkgc.components.runtime.quoting import mlflow_literal
from mmkgc.components.runtime.revision import revision
from mmkgc.components.runtime.tracking import Run
from mmkgc.feature_store.storage import Storage

VERSIONS_TAG = "mlflow.modelVersions"
"""Tag by which MLflow's pages link a LoggedModel to the registry. MLflow sets it in ``mlflow.register_model`` alone."""


def register_version(
    run: Run, name: str, graph_uri: str, bundle_uri: str, metrics: dict[str, Any], storage: Storage
) -> str:
    """Number of the version of ``name`` that holds this bundle; created if there is none.

    ``run`` is the one that MLflow's pages show as its source, and that they list with the model.
    """
    graph, folder = storage.fetch(graph_uri), storage.fetch(bundle_uri)
    bundle = Bundle.load(folder)
    tags = lineage(bundle, graph_uri, bundle_uri, graph, folder)
    digest = mlflow_literal(tags[registry.DIGEST_TAG])
    same = f"name = {mlflow_literal(name)} AND tags.{registry.DIGEST_TAG} = {digest}"
    if found := run.api.search_model_versions(same):
        return str(found[0].version)
    described = card(metrics, bundle, graph_card(graph))
    model_id = _log_model(run, name, folder, tags, _example(bundle), described)
    registry.ensure_model(name)
    made = run.api.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run.id,
        tags=tags,
        description=described,
        model_id=model_id,
    )
    shown = json.dumps([{"name": name, "version": str(made.version)}])
    run.api.set_logged_model_tags(model_id, {VERSIONS_TAG: shown})
    return str(made.version)


def lineage(bundle: Bundle, graph_uri: str, bundle_uri: str, graph: Path, folder: Path) -> dict[str, str]:
    """Tags of a version: its inputs, its code and its seed."""
    splits = {split: digests.of_file(graph / f"{split}.parquet") for split in ("train", "valid", "test")}
    made_from = bundle.provenance.get("made_from", {})
    features, start = made_from.get("features", {}), bundle.provenance.get("start")
    return {
        registry.DIGEST_TAG: digests.of_folder(folder),
        "bundle_uri": bundle_uri,
        "graph_uri": graph_uri,
        "graph_digest": digests.of_folder(graph),
        "split_digest": digests.of_json(splits),
        **{f"features_{modality}": digest for modality, digest in features.items()},
        **{f"weights_{modality}": str(spec.get("weights")) for modality, spec in bundle.encoders.items()},
        **({"start": start["model"], "start_digest": made_from["start"]} if start else {}),
        "seed": str(bundle.config.get("seed")),
        "code_digest": digests.of_code(),
        "code_version": version("mmkgc"),
        "git_sha": revision(),
    }


def _log_model(run: Run, name: str, folder: Path, tags: dict[str, str], example: dict[str, Any], described: str) -> str:
    """Log the bundle and the code that answers queries as a LoggedModel; return its id."""
    experiment = run.api.get_run(run.id).info.experiment_id
    label = name.replace(".", "-")  # a LoggedModel's name, unlike a registered model's, must not contain a dot
    logged = run.api.create_logged_model(experiment, name=label, source_run_id=run.id, tags=tags, model_type="kge")
    with TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        _write_model(model, folder, example)
        write_text(model / CARD, f"# {name}\n\n{described}")
        run.api.log_model_artifacts(logged.model_id, str(model))
    run.api.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id


def _write_model(model: Path, folder: Path, example: dict[str, Any]) -> None:
    """Write an MLflow model of ``pyfunc.py`` and the bundle, with signature and input example; no pickle."""
    import mlflow
    from mlflow.types import ColSpec, DataType, Schema

    unseen = [f"{part}_{modality.field}" for part in ("head", "tail") for modality in MODALITIES.values()]
    given = [ColSpec(DataType.string, part, required=False) for part in ("head", "relation", "tail", *unseen, "type")]
    known = ColSpec(DataType.boolean, "exclude_known", required=False)
    inputs = Schema([*given, known, ColSpec(DataType.long, "k", required=False)])
    bundle = model.with_name(Path(registry.BUNDLE_FOLDER).name)  # MLflow names an artifact's folder after its source
    shutil.copytree(folder, bundle)
    mlflow.pyfunc.save_model(
        model,
        python_model=str(Path(__file__).with_name("pyfunc.py")),
        artifacts={"bundle": str(bundle)},
        signature=mlflow.models.ModelSignature(inputs, Schema([ColSpec(DataType.string)])),
        input_example=[example],
        pip_requirements=[f"mmkgc=={version('mmkgc')}"],
    )


def _example(bundle: Bundle) -> dict[str, Any]:
    head, relation, _ = bundle.train[0].tolist()
    return {"head": bundle.entities.keys[head], "relation": bundle.relations.keys[relation], "k": 5}
