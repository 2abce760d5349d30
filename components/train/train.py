"""Graph and features → the bundle of the model with the best development MRR."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.calibration import calibrate
from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.model import Model
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import read_json
from mmkgc.components.runtime.malloc import keep_freed_memory
from mmkgc.components.runtime.settings import Settings
from mmkgc.components.train.checkpoint import owned
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.features import training_features, used
from mmkgc.components.train.needs import needs, refuse_if_too_large
from mmkgc.components.train.optimizers import squares_of
from mmkgc.components.train.refit import refit, with_development
from mmkgc.components.train.start import Start
from mmkgc.components.train.trainer import OnEpoch, Trainer
from mmkgc.feature_store.manifest import Manifest
from mmkgc.feature_store.storage import Storage, Stored

__all__ = ["TrainConfig", "train"]


def train(
    graph_uri: str,
    feature_uris: Mapping[str, str],
    config: TrainConfig,
    storage: Storage,
    scratch: Path | None = None,
    best_uri: str | None = None,
) -> Stored:
    """Train on a published graph and the features of its entities, and publish the bundle.

    ``feature_uris``: manifest by modality. ``best_uri``: what a search found, applied on top of ``config``.
    ``scratch`` (default: the environment's) holds checkpoints; after a kill, the same call continues from the last one.
    Progress and metrics go to an MLflow run. Under ``torchrun`` every process makes this call. Only the main process
    logs, writes checkpoints and publishes; all return what it published. Raises ``UserError`` if the graph lacks what
    the config needs, if the model of ``config.start`` cannot be gone on from, or if the loss becomes NaN.
    """
    from mmkgc.components.runtime.tracking import step_run

    keep_freed_memory()
    if best_uri:
        config = config.override(read_json(storage.fetch(best_uri) / "best.json")["overrides"])
    mmkg = MMKG.load(storage.fetch(graph_uri))
    feature_uris = used(feature_uris, config, storage)
    if reason := config.incompatibility(tuple(feature_uris)):
        raise UserError("train", reason)
    feature_digests = {m: digest_in(uri) for m, uri in feature_uris.items()}
    made_from: dict[str, Any] = {"graph": digest_in(graph_uri), "features": feature_digests}
    encoders = {m: Manifest.read(uri, storage).encoder for m, uri in feature_uris.items()}
    start = Start.of(config, mmkg.graph, encoders, storage) if config.start else None
    if start:
        made_from["start"] = start.digest
    selecting, last_epoch = start.selecting if start else mmkg.graph, None
    if config.refit and config.refit is not True:
        selecting, last_epoch = with_development(mmkg.graph), config.refit
    folder = (scratch or Settings.from_env().scratch) / "train" / _key(made_from, config)
    features = training_features(feature_uris, mmkg.graph.entities.keys, config, storage)
    widths = {m: table.dimension for m, table in features.items()}
    found = needs(config, len(mmkg.graph.entities), len(mmkg.graph.train), widths)
    refuse_if_too_large(found, folder)
    print(f"train {found}", flush=True)
    begins_with = start.bundle if start else None
    checkpoint = folder / "checkpoint.pt"
    trainer = Trainer(selecting, features, config, checkpoint, config.checkpoint_seconds, last_epoch, begins_with)
    if start:
        print(f"train {start.told(trainer)}", flush=True)
    if not trainer.group.is_main:
        _fit(trainer, features, folder)
        return trainer.group.told()
    with owned(folder), step_run("train", params=config.model_dump()) as run:
        counts = {"entities": len(mmkg.graph.entities), "train": len(mmkg.graph.train)}
        run.log_dataset(str(mmkg.info.get("name", "graph")), made_from["graph"], graph_uri, counts, "training")
        model = _fit(trainer, features, folder, lambda epoch, metrics: run.log_metrics(metrics, step=epoch))
        bundle = Bundle.of(
            model,
            _fitted_on(mmkg.graph, start, config),
            encoders={m: spec for m, spec in encoders.items() if m in model.entities.modalities},  # not the sampler's
            calibration=_calibration(trainer.model, selecting, config),
            config=config.model_dump(),
            squares=_squares(trainer),
            provenance={"made_from": made_from}
            | trainer.selection.summary()
            | _looked(trainer)
            | (start.record(trainer) if start else {}),
        )
        bundle.save(folder / "bundle")
        stored = storage.publish(folder / "bundle", "bundles")
        run.set_tags({"bundle": stored.uri})
        shutil.rmtree(folder)
    return trainer.group.told(stored)


def _fitted_on(graph: Graph, start: Start | None, config: TrainConfig) -> Graph:
    """The graph with all triples in train that the model was fitted on, by itself or by the one that it began with."""
    if config.refit:
        return with_development(graph)
    return start.fitted_on(graph) if start else graph


def _squares(trainer: Trainer) -> dict[str, Tensor]:
    """What Adagrad has summed; none with ``refit: true``, where the trainer's model is not the one that is kept."""
    return {} if trainer.config.refit is True else squares_of(trainer.optimizer, trainer.model)


def _looked(trainer: Trainer) -> dict[str, Any]:
    """Negatives to look at, for the report; none without a sampler."""
    found = trainer.look_at_negatives()
    return {} if found is None else {"negatives": found}


def _fit(
    trainer: Trainer, features: Mapping[str, Features], folder: Path, on_epoch: OnEpoch = lambda epoch, metrics: None
) -> Model:
    """The trained model; with ``refit: true`` the one that is trained again, on the development triples too."""
    model = trainer.fit(on_epoch)
    return refit(trainer, features, folder / "refit.pt") if trainer.config.refit is True else model


def _calibration(model: Model, graph: Graph, config: TrainConfig) -> dict[str, Any] | None:
    if config.calibration is None or not len(graph.valid):
        return None
    sizes = len(graph.entities), len(graph.relations)
    device = next(model.parameters()).device
    train, valid, false = (triples.to(device) for triples in (graph.train, graph.valid, graph.false))
    return calibrate(model, train, valid, *sizes, config.calibration, false)


def digest_in(uri: str) -> str:
    """The content digest at the end of a published URI: a folder's name, or the part of a manifest's name."""
    return uri.rstrip("/").rpartition("/")[2].removeprefix("manifest-").removesuffix(".json")


def _key(made_from: dict[str, Any], config: TrainConfig) -> str:
    """Name of the checkpoint: a digest of inputs, configuration and code."""
    return digests.of_json([made_from, json.loads(config.model_dump_json()), digests.of_code()])[:16]
