"""The ``register`` step: register a bundle as a version in the MLflow registry and run the promotion gate."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mmkgc.components.register.config import RegisterConfig
from mmkgc.components.register.promote import promote
from mmkgc.components.register.version import register_version
from mmkgc.components.runtime import model_registry as registry
from mmkgc.components.runtime.files import read_json, write_json
from mmkgc.components.runtime.tracking import Run, parent_run, step_run
from mmkgc.feature_store.storage import Storage, Stored

__all__ = ["RegisterConfig", "register"]


def register(graph_uri: str, bundle_uri: str, evaluation_uri: str, config: RegisterConfig, storage: Storage) -> Stored:
    """Register the bundle and run the gate; publishes ``registration.json``, which is also an artifact of the run.

    A bundle that is already registered keeps its version. If the gate does not pass, no error is raised: the version
    gets no alias, and the record gives the reason.
    """
    metrics = read_json(storage.fetch(evaluation_uri) / "metrics.json")
    with step_run("register", config.model_dump()) as run, TemporaryDirectory() as scratch:
        name = config.model or _experiment(run)
        whole = parent_run()
        number = register_version(whole or run, name, graph_uri, bundle_uri, metrics, storage)
        record = {"model": name, "version": number, "alias": config.alias} | _promotion(name, number, config, storage)
        write_json(Path(scratch) / "registration.json", record)
        run.log_artifact(Path(scratch) / "registration.json")
        for target in filter(None, (run, whole)):
            target.set_tags(
                {"model": f"{name} version {number}", "promoted": record["promoted"], "gate": record["reason"]}
            )
            target.log_model(registry.logged_model(run.api.get_model_version(name, number)))
        return storage.publish(Path(scratch), "registrations")


def _promotion(name: str, number: str, config: RegisterConfig, storage: Storage) -> dict[str, Any]:
    current = registry.version_at(name, config.alias)
    if current and current.version == number:
        return {
            "promoted": True,
            "reason": f"version {number} is the {config.alias} already: the same bundle as before",
        }
    if not config.promote:
        return {"promoted": False, "reason": "registered without asking the gate (register.promote is false)"}
    return promote(name, number, config, storage).record()


def _experiment(run: Run) -> str:
    return run.api.get_experiment(run.api.get_run(run.id).info.experiment_id).name
