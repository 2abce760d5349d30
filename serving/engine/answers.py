"""Formats ids and scores as the JSON of answers."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.evaluation.calibration import probability
from mmkgc.components.kge.graph import slot_of
from mmkgc.serving.api.protocol import Direction
from mmkgc.serving.engine.explain import Evidence
from mmkgc.serving.engine.resolve import Kind, Resolved, Resolver

DECIMALS = 6
Json = dict[str, Any]


class Writer:
    """Writes answers with keys and names, ``known`` marks, explanations, and calibrated probabilities.

    A known answer has no probability: those of the calibration are of answers that the graph does not hold.
    """

    def __init__(self, bundle: Bundle, resolver: Resolver) -> None:
        self.model, self.calibration = bundle.model, bundle.calibration
        self.entities, self.relations = resolver.entities, resolver.relations
        self.evidence = Evidence(bundle)

    def write(
        self,
        kind: Kind,
        group: Sequence[Resolved],
        ids: np.ndarray,
        scores: np.ndarray,
        known: np.ndarray,
        margins: np.ndarray | None,
    ) -> list[Json]:
        """Answers of a group of queries; chosen ``ids``, their ``scores``, ``known`` marks and margins are ``[B, k]``.

        ``margins`` over the best other unknown candidate, for head and tail queries alone.
        """
        asked = zip(group, ids.tolist(), strict=True)
        found = [[index for index in row if index >= 0][: query.query.k] for query, row in asked]
        rounded = np.round(scores.astype(float), DECIMALS)
        chances = self._probabilities(kind, group, ids, scores, margins).astype(object)
        chances[known] = None
        columns = (column.tolist() for column in (rounded, chances, known))
        reasons = self._reasons(kind, group, found)
        return [self._answer(kind, *row) for row in zip(group, found, *columns, reasons, strict=True)]

    def _answer(
        self, kind: Kind, query: Resolved, ids: list[int], scores: list, probabilities: list, known: list, reasons: list
    ) -> Json:
        if kind.direction is Direction.TRIPLE:
            scored = {"score": scores[0], "probability": probabilities[0], "known": known[0]}
            return self._asked(kind, query) | scored | (reasons[0] if reasons else {})
        vocabulary = (self.relations if kind.direction is Direction.RELATION else self.entities).vocabulary
        keys, names = vocabulary.keys, vocabulary.names
        predictions: list[Json] = [
            {"key": keys[index], "name": names[index], "score": score, "probability": likely, "known": mark}
            for index, score, likely, mark in zip(ids, scores, probabilities, known, strict=False)
        ]
        if reasons:
            predictions = [found | reason for found, reason in zip(predictions, reasons, strict=True)]
        return self._asked(kind, query) | {"predictions": predictions}

    def _asked(self, kind: Kind, query: Resolved) -> Json:
        parts = {"head": self.entities, "relation": self.relations, "tail": self.entities}
        asked: Json = {"direction": kind.direction.value}
        for part, labels in parts.items():
            index = getattr(query, part)
            unseen = {"key": None, "name": None} if part == kind.unseen_part else None
            asked[part] = unseen if index is None else labels.item(index)
        return asked

    def _reasons(self, kind: Kind, group: Sequence[Resolved], found: Sequence[list[int]]) -> list[list[Json]]:
        """Modality weights and supporting triples of each prediction, computed for the whole group in one pass.

        The list of a query without ``explain`` is empty.
        """
        explained = [query.query.explain and kind.unseen_part is None for query in group]
        triples = [
            self._predicted(kind, query, ids)
            for query, ids, wanted in zip(group, found, explained, strict=True)
            if wanted
        ]
        reasons = iter(self._why(torch.cat(triples)) if triples else [])
        return [list(islice(reasons, len(ids))) if wanted else [] for ids, wanted in zip(found, explained, strict=True)]

    def _predicted(self, kind: Kind, query: Resolved, ids: list[int]) -> Tensor:
        """The predicted triples ``[k, 3]`` of a query."""
        triples = torch.tensor([query.head or 0, query.relation or 0, query.tail or 0]).repeat(len(ids), 1)
        if kind.direction is not Direction.TRIPLE:
            triples[:, ("head", "relation", "tail").index(kind.direction.value)] = torch.tensor(ids, dtype=torch.long)
        return triples

    def _why(self, triples: Tensor) -> list[Json]:
        """Modality weights and supporting triples of each of ``triples`` ``[B, 3]``."""
        shares = self.model.modality_weights(triples) if len(triples) else None
        rounded = shares and {m: np.round(share.double().numpy(), DECIMALS).tolist() for m, share in shares.items()}
        return [
            {
                "shares": rounded and {m: values[row] for m, values in rounded.items()},
                "support": [self._triple(*near) for near in support.tolist()],
            }
            for row, support in enumerate(self.evidence.nearest(triples))
        ]

    def _triple(self, head: int, relation: int, tail: int) -> Json:
        items = self.entities.item(head), self.relations.item(relation), self.entities.item(tail)
        return dict(zip(("head", "relation", "tail"), items, strict=True))

    def _probabilities(
        self, kind: Kind, group: Sequence[Resolved], ids: np.ndarray, scores: np.ndarray, margins: np.ndarray | None
    ) -> np.ndarray:
        if self.calibration is None:
            return np.full(scores.shape, None)
        relations = [[query.relation or 0] for query in group]
        asked = ids.clip(min=0) if kind.direction is Direction.RELATION else np.broadcast_to(relations, scores.shape)
        slots = slot_of(torch.from_numpy(asked.copy()), "head" if kind.direction is Direction.HEAD else "tail")
        ahead = None if margins is None else torch.from_numpy(margins)
        calibrated = probability(self.calibration, torch.from_numpy(scores), slots, ahead)
        return np.round(calibrated.double().numpy(), DECIMALS)
