"""The model that a warm start begins with: where it is found, and whether the training can go on from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Graph
from mmkgc.components.kge.warm_start import difference, trained_on
from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.names import REGISTERED
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.train.config import TrainConfig
from mmkgc.components.train.optimizers.squares import SUMMING
from mmkgc.components.train.trainer import Trainer
from mmkgc.feature_store.storage import Storage

KEY = "train.start"
ALIKE = ("encoder", "weights", "revision", "output")
"""What two encoders of one modality must share; what an encoder has learnt from the entities may differ."""


@dataclass(frozen=True)
class Start:
    """An earlier model for a training on ``selecting``.

    ``found``: its name and version, or the place of its bundle. ``selecting``: the graph without the development
    triples ``taken`` ``[V', 3]``, which the earlier model was trained on; filters still know them.
    """

    found: str
    digest: str
    bundle: Bundle
    selecting: Graph
    taken: Tensor

    @classmethod
    def of(cls, config: TrainConfig, graph: Graph, encoders: Mapping[str, dict[str, Any]], storage: Storage) -> Self:
        """The model that ``config.start`` names.

        ``encoders``: the specification of the encoder of each modality. Raises UserError if there is no such model, if
        it is another kind of model, has features of other encoders, or was trained on test triples of ``graph``.
        """
        assert config.start is not None
        found, folder = find(config.start, storage)
        bundle = Bundle.load(folder)
        if reason := difference(config.model, bundle) or _other_encoder(encoders, bundle):
            raise UserError(f"{KEY} {found}", reason, "use the same settings, or leave out train.start")
        tested = int(trained_on(graph.test, graph, bundle).sum())
        if tested:
            what = f"it was trained on {tested:,} of the {len(graph.test):,} test triples of this graph"
            raise UserError(
                f"{KEY} {found}", what, "keep the test split of the earlier graph, or leave out train.start"
            )
        known = trained_on(graph.valid, graph, bundle)
        if len(known) and known.all():
            what = "it was trained on every development triple of this graph, so no epoch could be chosen"
            raise UserError(
                f"{KEY} {found}", what, "keep the splits, start from a model without train.refit, or leave it out"
            )
        taken = graph.valid[known]
        selecting = replace(graph, valid=graph.valid[~known], known=torch.cat([graph.known, taken]))
        return cls(found, digests.of_folder(folder), bundle, selecting, taken)

    def fitted_on(self, graph: Graph) -> Graph:
        """The graph with the triples ``taken`` in train, since the model has learned them."""
        train, confidence = torch.cat([graph.train, self.taken]), graph.confidence
        if confidence is not None:
            confidence = torch.cat([confidence, confidence.new_ones(len(self.taken))])
        return replace(graph, train=train, confidence=confidence, valid=self.selecting.valid)

    def told(self, trainer: Trainer) -> str:
        """A sentence on what the training begins with."""
        taken = counted(len(self.taken), "development triple is", "development triples are")
        taken = f"; {taken} left out, on which it was trained"
        goes_on = self.bundle.squares and isinstance(trainer.optimizer, SUMMING)
        optimizer = "Adagrad goes on" if goes_on else "the optimizer begins anew"
        return f"starts from {self.found}: {trainer.growth}{taken if len(self.taken) else ''}; {optimizer}"

    def record(self, trainer: Trainer) -> dict[str, Any]:
        """What the bundle states about its start."""
        growth = trainer.growth.record() if trainer.growth else {}
        return {"start": {"model": self.found, "development_left_out": len(self.taken), **growth}}


def find(place: str, storage: Storage) -> tuple[str, Path]:
    """Name and folder of the bundle at ``place``: ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, a folder or a URI.

    Raises UserError if there is none.
    """
    if place.startswith(REGISTERED):
        from mmkgc.components.runtime import model_registry as registry

        version = registry.version_of(place)
        return f"{REGISTERED}{version.name}/{version.version}", registry.bundle_of(version)
    if "://" in place:
        return place, storage.fetch(place)
    if not (Path(place) / "bundle.json").is_file():
        mend = "give models:/NAME@ALIAS, models:/NAME/VERSION, or the folder that `train` published"
        raise UserError(f"{KEY} {place}", "there is no model bundle", mend)
    return place, Path(place)


def _other_encoder(encoders: Mapping[str, dict[str, Any]], bundle: Bundle) -> str | None:
    """How the features differ from those that the earlier model was trained on; None if they are alike."""
    for modality, spec in encoders.items():
        earlier = bundle.encoders.get(modality, spec)
        if any(spec.get(key) != earlier.get(key) for key in ALIKE):
            before, now = (f"{each.get('encoder')} ({each.get('weights')})" for each in (earlier, spec))
            return f"its {modality} features are of the encoder {before}, and these are of {now}"
    return None
