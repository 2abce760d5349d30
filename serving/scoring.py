"""Scores of a group of queries that ask for the same thing, and which of the candidates the graph already holds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from components.kge.bundle import Bundle
from components.kge.entities import Modal
from components.kge.graph import HEAD, RELATION, TAIL
from components.kge.interactions.base import Side
from components.kge.pool import Pool
from serving.index import Index, places, width
from serving.protocol import Direction
from serving.resolve import Kind, Resolved

FLOATS_AT_ONCE = 1 << 23  # 32 MB
SEARCHED_AT_ONCE = 256
Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Candidates:
    """What a group of queries is answered with: C candidates each.

    ``scores`` float32 ``[B, C]``; ``known``: pairs (row, column) that the graph holds; ``ids``: the entities ``[B, C]``
    of the columns, ascending, or ``None`` where column c is entity (or relation) c.
    """

    scores: np.ndarray
    known: Pairs
    ids: np.ndarray | None = None

    def at(self, columns: np.ndarray) -> np.ndarray:
        """Ids of ``columns`` ``[B, k]``; −1 stays."""
        if self.ids is None:
            return columns
        return np.where(columns < 0, -1, np.take_along_axis(self.ids, columns, axis=1))


class Scorer:
    """Scores queries with a frozen model. C candidates: all N entities, those that an ``index`` finds, all R relations,
    or the one given triple.
    """

    def __init__(self, bundle: Bundle, tables: Pool | None = None, index: Index | None = None) -> None:
        self.model, self.known, self.index = bundle.model.freeze(tables), bundle.known, index
        self.n_entities, self.n_relations = len(bundle.entities), len(bundle.relations)
        triples = bundle.known.triples
        self.reflexive = set(triples[triples[:, HEAD] == triples[:, TAIL]][:, RELATION].tolist())

    def chunks(self, kind: Kind, group: Sequence[Resolved]) -> Iterator[Sequence[Resolved]]:
        """The group in pieces whose scores fit into 32 MB; what the index serves apart from what it does not."""
        reals = next(iter(self.model.everyone().views.values())).shape[-1]
        floats = {Direction.RELATION: self.n_relations * reals, Direction.TRIPLE: reals}
        size = max(1, FLOATS_AT_ONCE // floats.get(kind.direction, self.n_entities))
        scanned = [query for query in group if not self._searches(query)]
        searched = [query for query in group if self._searches(query)]
        for start in range(0, len(scanned), size):
            yield scanned[start : start + size]
        for start in range(0, len(searched), SEARCHED_AT_ONCE):
            yield searched[start : start + SEARCHED_AT_ONCE]

    def candidates(self, kind: Kind, group: Sequence[Resolved], unseen: Modal | None) -> Candidates:
        """Scored candidates of one of the ``chunks``; ``unseen``: the vectors of its unseen entities, if any."""
        known = self.known_answers(kind, group)
        if self._searches(group[0]):
            assert self.index is not None
            side: Side = "tail" if kind.direction is Direction.TAIL else "head"
            part = unseen or self._known_side(query.head if side == "tail" else query.tail for query in group)
            relations = _ids(query.relation for query in group)
            held = np.bincount(known[0], minlength=len(group)).tolist()
            count = max(width(query.query.k, more) for query, more in zip(group, held, strict=True))
            ids = self.index.search(part, relations, side, count)
            found = Candidates(self.index.score(part, relations, side, ids), places(ids, self.n_entities, *known), ids)
        else:
            found = Candidates(self.scores(kind, group, unseen), known)
        self._exclude_selves(kind, group, found)
        return found

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

    def known_answers(self, kind: Kind, group: Sequence[Resolved]) -> Pairs:
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

    def _exclude_selves(self, kind: Kind, group: Sequence[Resolved], found: Candidates) -> None:
        """Sink each query's own entity to −∞: most relations have no loops, and a model that has seen none of a
        symmetric one still finds an entity most like itself.
        """
        if kind.unseen_part is not None or kind.direction not in (Direction.HEAD, Direction.TAIL):
            return
        rows = [i for i, q in enumerate(group) if q.query.exclude_self and q.relation not in self.reflexive]
        own = [group[i].head if kind.direction is Direction.TAIL else group[i].tail for i in rows]
        pairs = np.array(rows, dtype=np.int64), np.array(own, dtype=np.int64)
        found.scores[pairs if found.ids is None else places(found.ids, self.n_entities, *pairs)] = -np.inf

    def _searches(self, query: Resolved) -> bool:
        """Whether the index finds the candidates: not of relations, and not where the query restricts them."""
        if self.index is None or query.pool is not None:
            return False
        return query.query.direction in (Direction.HEAD, Direction.TAIL)

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
