"""The Python API of a trained model: completions, scores, explanations, vectors and metrics as tables."""

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from mmkgc.components.kge.evaluation.baseline import RelationPopularity
from mmkgc.components.kge.evaluation.metrics import QueryRanks, metrics_by_side
from mmkgc.components.kge.evaluation.ranks import rank
from mmkgc.components.kge.graph import Graph, KnownTriples, no_triples
from mmkgc.components.runtime.errors import UserError, did_you_mean
from mmkgc.components.runtime.extras import required
from mmkgc.components.runtime.names import REGISTERED
from mmkgc.pipeline.cli.complete import PARTS, refuse_failed
from mmkgc.serving.api.protocol import QueryError
from mmkgc.serving.engine import engine as serving

Entity = str | Mapping[str, Any]
"""A key or a name of the graph, or ``{"text": …, "image": …}`` of a new entity."""
HITS = (1, 3, 10)
POPULARITY = "relation popularity"


class Explanation(NamedTuple):
    """Why a triple has its score.

    ``probability``: calibrated, None if the model is not calibrated or the triple is known. ``known``: whether the
    triple is in any split of the graph. ``modality_weights``: weight of each modality, None if the fusion has no
    weights. ``similar``: the most similar training triples of the relation, with names in the columns ``head``,
    ``relation``, ``tail``.
    """

    score: float
    probability: float | None
    known: bool
    modality_weights: dict[str, float] | None
    similar: pd.DataFrame


class Engine(serving.Engine):
    """The serving engine with answers as tables. Entities and relations are given by key or by name.

    Created by ``mmkgc.load``, ``RunResult.load``, or ``Engine.load(folder)`` of a bundle. ``bundle`` is the trained
    model: ``bundle.model`` the PyTorch module, ``bundle.entities`` and ``bundle.relations`` the vocabularies.
    """

    def complete(
        self,
        head: Entity | None = None,
        relation: str | None = None,
        tail: Entity | None = None,
        *,
        k: int = 10,
        exclude_known: bool = True,
        exclude_self: bool = True,
        exclude_other_types: bool = True,
        candidates: Sequence[str] | None = None,
        type: str | None = None,
    ) -> pd.DataFrame:
        """The ``k`` best completions of a triple with one missing part.

        At most one of ``head`` and ``tail`` may be a new entity, described by a ``text``, an ``image`` (a path, or the
        bytes of a PNG, JPEG, WebP or GIF), or both. ``exclude_known`` leaves out known answers, ``exclude_self`` the
        given entity, ``exclude_other_types`` entities of types that the relation never has on this side in the graph.
        ``candidates`` (keys or names) and ``type`` restrict the entities that are ranked.
        Returns columns ``key name score probability known``, best first; scores are logits, higher is more plausible.
        Known answers have no probability: NaN.
        Raises UserError for unknown labels.
        """
        query = {"head": _json(head), "relation": relation, "tail": _json(tail), "k": k, "type": type}
        left_out = {
            "exclude_known": exclude_known,
            "exclude_self": exclude_self,
            "exclude_other_types": exclude_other_types,
        }
        answer = self._ask(query | left_out | {"candidates": candidates})
        if "predictions" not in answer:
            raise UserError("complete", "nothing is asked for", "leave out one of head, relation and tail")
        columns = ["key", "name", "score", "probability", "known"]
        ranks = pd.RangeIndex(1, len(answer["predictions"]) + 1, name="rank")
        return pd.DataFrame(answer["predictions"], index=ranks, columns=columns)

    def score(self, head: Entity, relation: str, tail: Entity) -> float:
        """The score of a triple, a logit: higher is more plausible. Raises UserError for unknown labels."""
        return float(self._ask({"head": _json(head), "relation": relation, "tail": _json(tail)})["score"])

    def explain(self, head: str, relation: str, tail: str) -> Explanation:
        """Score and explanation of a triple of entities of the graph. Raises UserError for unknown labels."""
        answer = self._ask({"head": head, "relation": relation, "tail": tail, "explain": True})
        similar = [[triple[part]["name"] for part in PARTS] for triple in answer["support"]]
        return Explanation(
            score=answer["score"],
            probability=answer["probability"],
            known=answer["known"],
            modality_weights=answer["shares"],
            similar=pd.DataFrame(similar, columns=list(PARTS)),
        )

    @property
    def views(self) -> tuple[str, ...]:
        """Names of the vectors of an entity: ``structure``, its modalities, and the outputs of the fusion."""
        return tuple(self.bundle.model.everyone().views)

    def embeddings(self, view: str | None = None) -> pd.DataFrame:
        """The vectors of all entities ``[N, e]``, float32, one row per key in the order of the vocabulary.

        ``view``: one of ``views``; by default the head view of the score's first term, or ``structure`` if that
        depends on the relation. Interactions over complex numbers have e = 2d reals. Raises UserError for an
        unknown view.
        """
        views = self.bundle.model.everyone().views
        first = self.bundle.model.fusion.terms[0].head
        chosen = view or (first if first in views else "structure")
        if chosen not in views:
            raise UserError("embeddings", f"the model has no view '{chosen}'", did_you_mean(chosen, views))
        keys = pd.Index(self.bundle.entities.keys, name="entity")
        return pd.DataFrame(views[chosen].detach().cpu().numpy().copy(), index=keys)

    def evaluate(self, triples: pd.DataFrame | Iterable[Sequence[str]], *, batch_size: int = 256) -> pd.DataFrame:
        """Filtered metrics of true triples, for the model and for the relation popularity baseline.

        ``triples``: rows of head, relation, tail (keys or names), in columns of these names if it is a DataFrame. The
        head and the tail of each are predicted; other true answers, in the graph or in ``triples``, are filtered out;
        ties get their mean rank. The metrics are only meaningful if the model was not trained on the triples.
        Returns rows by ``scorer`` (``model``, ``relation popularity``) and ``side`` (``both``, ``head``, ``tail``);
        columns ``mr``, ``mrr``, ``hits_at_1``, … as fractions of 1. Raises UserError for unknown labels.
        """
        ids = self._ids(triples)
        bundle, model = self.bundle, self.bundle.model
        sizes = len(bundle.entities), len(bundle.relations)
        known = KnownTriples(torch.cat([bundle.known.triples, ids]), *sizes)
        popularity = RelationPopularity(
            Graph(bundle.entities, bundle.relations, bundle.train, no_triples(), no_triples())
        )
        frozen = model.everyone()
        try:
            ranks = {"model": rank(model, ids, known, batch_size), POPULARITY: rank(popularity, ids, known, batch_size)}
        finally:
            model.freeze(frozen)
        by_side = {scorer: metrics_by_side(QueryRanks.of(found), HITS, "realistic") for scorer, found in ranks.items()}
        rows = {(scorer, side): values for scorer, sides in by_side.items() for side, values in sides.items()}
        index = pd.MultiIndex.from_tuples(list(rows), names=["scorer", "side"])
        return pd.DataFrame(list(rows.values()), index=index)

    def _ask(self, query: Mapping[str, Any]) -> dict[str, Any]:
        with required():
            (answer,) = self.answer([query])
        refuse_failed(answer, "query")
        return answer

    def _ids(self, triples: pd.DataFrame | Iterable[Sequence[str]]) -> Tensor:
        """Triples ``[T, 3]`` of labels."""
        rows = triples[list(PARTS)].itertuples(index=False) if isinstance(triples, pd.DataFrame) else triples
        labels = self.resolver.entities, self.resolver.relations, self.resolver.entities
        ids = []
        for number, row in enumerate(rows, start=1):
            try:
                ids.append([label.resolve(str(part)) for label, part in zip(labels, row, strict=True)])
            except ValueError as error:
                raise UserError(f"triple {number}", f"{row!r} is no triple", "give head, relation, tail") from error
            except QueryError as error:
                near = ", ".join(item["name"] for item in error.nearest)
                raise UserError(f"triple {number}", str(error), f"did you mean: {near}?" if near else "") from error
        if not ids:
            raise UserError("evaluate", "there are no triples", "give rows of head, relation, tail")
        return torch.tensor(ids)


def load(model: str | Path) -> Engine:
    """Load a model from a bundle folder or from the registry: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Raises UserError if there is no such folder, model, alias or version.
    """
    if not str(model).startswith(REGISTERED):
        return Engine.load(Path(model))
    with required():
        from mmkgc.components.runtime import model_registry as registry

        found = registry.version_of(str(model))
        return Engine.load(registry.bundle_of(found), found.name, found.version)


def evaluate(model: str | Path | Engine, triples: pd.DataFrame | Iterable[Sequence[str]]) -> pd.DataFrame:
    """Filtered metrics of true triples by a model, as ``Engine.evaluate``; ``model`` as ``load`` takes it."""
    return (model if isinstance(model, Engine) else load(model)).evaluate(triples)


def _json(entity: Entity | None) -> str | dict[str, Any] | None:
    """An entity in the form of a query; images are encoded as base64."""
    if entity is None or isinstance(entity, str):
        return entity
    described = dict(entity)
    image = described.get("image")
    if isinstance(image, str | Path):
        image = _bytes(Path(image))
    if isinstance(image, bytes):
        described["image"] = b64encode(image).decode()
    return described


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(path, "this image cannot be read", str(error.strerror)) from error
