"""Scores of a group of queries that ask for the same thing, and which of the candidates the graph already holds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.interactions.base import Side
from mmkgc.serving.api.protocol import Direction
from mmkgc.serving.engine.index import Index, places, width
from mmkgc.serving.engine.resolve import Kind, Resolved

FLOATS_AT_ONCE = 1 << 23  # 32 MB
SEARCHED_AT_ONCE = 256
UNSEEN_AT_ONCE = 8
EXPLAINED_AT_ONCE = 256  # predictions
SIDES: dict[Direction, Side] = {Direction.HEAD: "head", Direction.TAIL: "tail"}
Pairs = tuple[np.ndarray, np.ndarray]
Piece = dict[Kind, list[Resolved]]


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

    def __init__(self, bundle: Bundle, tables: EncodedEntities | None = None, index: Index | None = None) -> None:
        self.model, self.known, self.index = bundle.model.freeze(tables), bundle.known, index
        self.n_entities, self.n_relations = len(bundle.entities), len(bundle.relations)
        triples = bundle.known.triples
        self.reflexive = set(triples[triples[:, HEAD] == triples[:, TAIL]][:, RELATION].tolist())

    def pieces(self, queries: Iterable[Resolved]) -> Iterator[Piece]:
        """The queries in pieces to be scored at once, of 32 MB of scores: those for heads and for tails together."""
        alike: dict[tuple[str, int], list[Resolved]] = defaultdict(list)
        for query in queries:
            alike[self._way(query)].append(query)
        for (_, size), group in alike.items():
            for start in range(0, len(group), size):
                piece: Piece = defaultdict(list)
                for query in group[start : start + size]:
                    piece[query.kind].append(query)
                yield piece

    def candidates(self, piece: Piece, unseen: Mapping[Kind, ModalityEmbeddings]) -> dict[Kind, Candidates]:
        """Scored candidates of one of the ``pieces``; ``unseen``: the vectors of its unseen entities."""
        known = {kind: self.known_answers(kind, group) for kind, group in piece.items()}
        if self._searches(next(iter(piece.values()))[0]):
            found = {kind: self._search(kind, group, unseen, known[kind]) for kind, group in piece.items()}
        else:
            found = {kind: Candidates(scores, known[kind]) for kind, scores in self.scores(piece, unseen).items()}
        for kind, group in piece.items():
            self._exclude_selves(kind, group, found[kind])
        return found

    def scores(self, piece: Piece, unseen: Mapping[Kind, ModalityEmbeddings]) -> dict[Kind, np.ndarray]:
        """Scores float32 ``[B, C]`` of each kind of a piece; ``unseen``: the vectors of its unseen entities."""
        if all(kind.direction in SIDES for kind in piece):
            asked = [
                (self._given(kind, group, unseen), _ids(query.relation for query in group), SIDES[kind.direction])
                for kind, group in piece.items()
            ]
            scores = self.model.score_queries(asked)
        else:
            scores = [self._matches(kind, group, unseen) for kind, group in piece.items()]
        return {kind: part.float().numpy() for kind, part in zip(piece, scores, strict=True)}

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

    def _way(self, query: Resolved) -> tuple[str, int]:
        """How a query's candidates are scored, and how many such queries at once: few where each is much work, so that
        a piece takes well under a second.
        """
        way, size = self._candidates_of(query)
        if query.unseen is not None:
            return f"{way}, unseen", min(size, UNSEEN_AT_ONCE)
        if query.query.explain:
            return f"{way}, explained {query.query.k}", min(size, max(1, EXPLAINED_AT_ONCE // query.query.k))
        return way, size

    def _candidates_of(self, query: Resolved) -> tuple[str, int]:
        if self._searches(query):
            return "search", SEARCHED_AT_ONCE
        if query.kind.direction in SIDES:
            return "scan", max(1, FLOATS_AT_ONCE // self.n_entities)
        reals = next(iter(self.model.everyone().views.values())).shape[-1]
        candidates = self.n_relations if query.kind.direction is Direction.RELATION else 1
        return query.kind.direction.value, max(1, FLOATS_AT_ONCE // (candidates * reals))

    def _search(
        self, kind: Kind, group: Sequence[Resolved], unseen: Mapping[Kind, ModalityEmbeddings], known: Pairs
    ) -> Candidates:
        """What the index finds."""
        assert self.index is not None
        given, side = self._given(kind, group, unseen), SIDES[kind.direction]
        relations = _ids(query.relation for query in group)
        held = np.bincount(known[0], minlength=len(group)).tolist()
        count = max(width(query.query.k, more) for query, more in zip(group, held, strict=True))
        ids = self.index.search(given, relations, side, count)
        return Candidates(self.index.score(given, relations, side, ids), places(ids, self.n_entities, *known), ids)

    def _matches(self, kind: Kind, group: Sequence[Resolved], unseen: Mapping[Kind, ModalityEmbeddings]) -> Tensor:
        """Scores ``[B, R]`` of all relations between two entities, or ``[B, 1]`` of triples."""
        head, tail = (self._part(part, kind, group, unseen) for part in ("head", "tail"))
        if kind.direction is Direction.TRIPLE:
            return self.model.score_modal(head, _ids(query.relation for query in group), tail).unsqueeze(1)
        column, row = torch.arange(len(group)).unsqueeze(1), torch.arange(self.n_relations).unsqueeze(0)
        return self.model.score_modal(head.rows(column), row, tail.rows(column))

    def _given(
        self, kind: Kind, group: Sequence[Resolved], unseen: Mapping[Kind, ModalityEmbeddings]
    ) -> ModalityEmbeddings:
        """Vectors of the entities whose counterparts are asked for."""
        return self._part("head" if kind.direction is Direction.TAIL else "tail", kind, group, unseen)

    def _part(
        self, part: str, kind: Kind, group: Sequence[Resolved], unseen: Mapping[Kind, ModalityEmbeddings]
    ) -> ModalityEmbeddings:
        if kind.unseen_part == part:
            return unseen[kind]
        return self.model.everyone().modal.rows(_ids(getattr(query, part) for query in group))

    def _exclude_selves(self, kind: Kind, group: Sequence[Resolved], found: Candidates) -> None:
        """Sink each query's own entity to −∞: most relations have no loops, and a model that has seen none of a
        symmetric one still finds an entity most like itself.
        """
        if kind.unseen_part is not None or kind.direction not in SIDES:
            return
        rows = [
            i for i, q in enumerate(group) if q.query.leaves_out("exclude_self") and q.relation not in self.reflexive
        ]
        own = [group[i].head if kind.direction is Direction.TAIL else group[i].tail for i in rows]
        pairs = np.array(rows, dtype=np.int64), np.array(own, dtype=np.int64)
        found.scores[pairs if found.ids is None else places(found.ids, self.n_entities, *pairs)] = -np.inf

    def _searches(self, query: Resolved) -> bool:
        """Whether the index finds the candidates: not of relations, and not where the query restricts them."""
        if self.index is None or query.pool is not None:
            return False
        return query.query.direction in SIDES

    def lacking(self, ids: Sequence[int]) -> dict[str, int]:
        """How many of the entities ``ids`` have no feature of each modality."""
        entities = self.model.entities
        masks = {m: entities.raw(m).mask for m in entities.modalities if m != STRUCTURE}
        return {m: int((~mask[list(ids)]).sum()) for m, mask in masks.items() if not mask[list(ids)].all()}


def _ids(values: Iterable[int | None]) -> Tensor:
    """Ids; 0 stands in for a part that is asked for, whose row is not used."""
    return torch.tensor([value or 0 for value in values])
