"""Scores of a group of queries that ask for the same thing, and which of the candidates the graph already holds."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from components.kge.bundle import Bundle
from components.kge.entities import Modal
from components.kge.graph import HEAD, RELATION, TAIL
from serving.protocol import Direction
from serving.resolve import Kind, Resolved

FLOATS_AT_ONCE = 1 << 23  # 32 MB


class Scorer:
    """Scores queries with a frozen model. C candidates: all N entities, all R relations, or the one given triple."""

    def __init__(self, bundle: Bundle) -> None:
        self.model, self.known = bundle.model.freeze(), bundle.known
        self.n_entities, self.n_relations = len(bundle.entities), len(bundle.relations)
        triples = bundle.known.triples
        self.reflexive = set(triples[triples[:, HEAD] == triples[:, TAIL]][:, RELATION].tolist())

    def chunks(self, kind: Kind, group: Sequence[Resolved]) -> Iterator[Sequence[Resolved]]:
        """The group in pieces whose scores fit into 32 MB."""
        width = next(iter(self.model.everyone().views.values())).shape[-1]
        floats = {Direction.RELATION: self.n_relations * width, Direction.TRIPLE: width}
        size = max(1, FLOATS_AT_ONCE // floats.get(kind.direction, self.n_entities))
        for start in range(0, len(group), size):
            yield group[start : start + size]

    def scores(self, kind: Kind, group: Sequence[Resolved], unseen: Modal | None) -> np.ndarray:
        """Scores float32 ``[B, C]``; ``unseen``: the vectors of the group's unseen entities, if it has them."""
        relations = _ids(query.relation for query in group)
        head = unseen if unseen and kind.unseen_part == "head" else self._known_side(query.head for query in group)
        tail = unseen if unseen and kind.unseen_part == "tail" else self._known_side(query.tail for query in group)
        if kind.direction is Direction.TAIL:
            scores = self.model.score_tails_of(head, relations)
        elif kind.direction is Direction.HEAD:
            scores = self.model.score_heads_of(relations, tail)
        elif kind.direction is Direction.RELATION:
            column, row = torch.arange(len(group)).unsqueeze(1), torch.arange(self.n_relations).unsqueeze(0)
            scores = self.model.score_modal(head.rows(column), row, tail.rows(column))
        else:
            scores = self.model.score_modal(head, relations, tail).unsqueeze(1)
        return scores.float().numpy()

    def known_answers(self, kind: Kind, group: Sequence[Resolved]) -> tuple[np.ndarray, np.ndarray]:
        """Candidates that the graph holds: pairs (row of the group, column of its scores); none of unseen entities."""
        if kind.unseen_part is not None:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        heads, relations, tails = (
            _ids(query.head for query in group),
            _ids(query.relation for query in group),
            _ids(query.tail for query in group),
        )
        if kind.direction is Direction.TAIL:
            rows, columns = self.known.tails(heads, relations)
        elif kind.direction is Direction.HEAD:
            rows, columns = self.known.heads(relations, tails)
        else:
            asked = torch.arange(self.n_relations) if kind.direction is Direction.RELATION else relations.unsqueeze(1)
            triples = torch.stack(torch.broadcast_tensors(heads.unsqueeze(1), asked, tails.unsqueeze(1)), dim=-1)
            rows, columns = self.known.contains(triples).nonzero(as_tuple=True)
        return rows.numpy(), columns.numpy()

    def exclude_selves(self, kind: Kind, group: Sequence[Resolved], scores: np.ndarray) -> None:
        """Sink each query's own entity to −∞: most relations have no loops, and a model that has seen none of a
        symmetric one still finds an entity most like itself.
        """
        if kind.unseen_part is None and kind.direction in (Direction.HEAD, Direction.TAIL):
            for row, query in zip(scores, group, strict=True):
                if query.query.exclude_self and query.relation not in self.reflexive:
                    row[query.head if kind.direction is Direction.TAIL else query.tail] = -np.inf

    def lacking(self, ids: Sequence[int]) -> dict[str, int]:
        """How many of the entities ``ids`` have no feature of each modality."""
        features = self.model.entities.features
        masks = {m: features.get_buffer(f"{m}_mask") for m in self.model.entities.projections}
        return {m: int((~mask[list(ids)]).sum()) for m, mask in masks.items() if not mask[list(ids)].all()}

    def _known_side(self, ids: Iterable[int | None]) -> Modal:
        return self.model.everyone().modal.rows(_ids(ids))


def _ids(values: Iterable[int | None]) -> Tensor:
    """Ids; 0 stands in for a part that is asked for, whose row is not used."""
    return torch.tensor([value or 0 for value in values])
