"""Training once more on all triples but those of test, after the development split has chosen the epoch."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from mmkgc.components.kge.features import Features
from mmkgc.components.kge.graph import Graph, no_triples
from mmkgc.components.kge.model import Model
from mmkgc.components.train.trainer import Trainer


def refit(selected: Trainer, features: Mapping[str, Features], checkpoint_path: Path | None = None) -> Model:
    """A model of the same configuration and seed, trained on the train and the development triples.

    It is trained for as many epochs as ``selected``, which has ended, found best. What the fusion fitted on the
    development split after training is copied from ``selected``, because this model was trained on these triples.
    """
    config, epochs = selected.config, selected.selection.best_epoch or selected.selection.epoch
    graph = with_development(selected.graph)
    model = Trainer(graph, features, config, checkpoint_path, config.checkpoint_seconds, epochs).fit()
    fitted = selected.model.fusion.fitted
    state = selected.model.fusion.state_dict()
    model.fusion.load_state_dict({n: t for n, t in state.items() if fitted and n.startswith(fitted)}, strict=False)
    return model.freeze()


def with_development(graph: Graph) -> Graph:
    """The graph with the development triples in train, and no development split."""
    confidence = graph.confidence
    if confidence is not None:
        confidence = torch.cat([confidence, confidence.new_ones(len(graph.valid))])
    train = torch.cat([graph.train, graph.valid])
    return replace(graph, train=train, confidence=confidence, valid=no_triples())
