"""Scores groups of queries of the same kind, and finds the candidates that are already in the graph."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.encoded_entities import EncodedEntities
from mmkgc.components.kge.entity_encoders.base import STRUCTURE, ModalityEmbeddings
from mmkgc.components.kge.graph import KnownTriples, Side, reflexive
from mmkgc.serving.api.protocol import Direction
from mmkgc.serving.engine.index import Index, places
from mmkgc.serving.engine.resolve import Kind, Resolved
from mmkgc.serving.engine.usual_types import UsualTypes

FLOATS_AT_ONCE = 1 << 23  # 32 MB
SEARCHED_AT_ONCE = 256
UNSEEN_AT_ONCE = 8
EXPLAINED_AT_ONCE = 256  # predictions
SIDES: dict[Direction, Side] = {Direction.HEAD: "head", Direction.TAIL: "tail"}
Pairs = tuple[np.ndarray, np.ndarray]
Piece = dict[Kind, list[Resolved]]


@dataclass(frozen=True)
class Candidates:
    """The C candidates of each query of a group.

    ``scores`` float32 ``[B, C]``; ``known``: pairs (row, column) that the graph contains; ``ids``: the entities
    ``[B, C]`` of the columns, ascending, or ``None`` where column c is entity (or relation) c.
    """

    scores: np.ndarray
    known: Pairs
    ids: np.ndarray | None = None

    def at(self, columns: np.ndarray) -> np.ndarray:
        """Ids of ``columns`` ``[B, k]``; −1 is kept."""
        if self.ids is None:
            return columns
        return np.where(columns < 0, -1, np.take_along_axis(self.ids, columns, axis=1))


class Scorer:
    """Scores queries with a frozen model.

    The C candidates are all N entities, those that an ``index`` finds, all R relations, or the one given triple.
    """

    def __init__(self, bundle: Bundle, tables: EncodedEntities | None = None, index: Index | None = None) -> None:
        self.model, self.known, self.index = bundle.model.freeze(tables), bundle.known, index
        self.n_entities, self.n_relations = len(bundle.entities), len(bundle.relations)
        self.false = KnownTriples(bundle.false, self.n_entities, self.n_relations)
        self.reflexive = set(reflexive(bundle.known.triples).tolist())
        self.usual_types = UsualTypes(bundle)

    def pieces(self, queries: Iterable[Resolved]) -> Iterator[Piece]:
        """Split the queries into batches of at most 32 MB of scores; head and tail queries share a batch."""
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
        """Scored candidates of one of the ``pieces``; ``unseen``: the vectors of its new entities."""
        known = {kind: self.known_answers(kind, group) for kind, group in piece.items()}
        if self._searches(next(iter(piece.values()))[0]):
            found = {kind: self._search(kind, group, unseen, known[kind]) for kind, group in piece.items()}
        else:
            found = {kind: Candidates(scores, known[kind]) for kind, scores in self.scores(piece, unseen).items()}
        for kind, group in piece.items():
            self._exclude_selves(kind, group, found[kind])
            self._exclude_false(kind, group, found[kind])
            self._exclude_other_types(kind, group, found[kind])
        return found

    def scores(self, piece: Piece, unseen: Mapping[Kind, ModalityEmbeddings]) -> dict[Kind, np.ndarray]:
        """Scores float32 ``[B, C]`` of each kind of a piece; ``unseen``: the vectors of its new entities."""
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
        """Known candidates: pairs (row of the group, column of its scores); none for queries with a new entity."""
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
        """How a query's candidates are scored, and how many such queries form a batch.

        Batches of costly queries are small, so that each takes well under a second.
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
        """Candidates that the index finds, with the model's scores."""
        assert self.index is not None
        given, side = self._given(kind, group, unseen), SIDES[kind.direction]
        relations = _ids(query.relation for query in group)
        left_out = np.concatenate([known[0], self._false_answers(kind, group)[0]])
        held = np.bincount(left_out, minlength=len(group)).tolist()
        count = max(self.index.info.width(query.query.k, more) for query, more in zip(group, held, strict=True))
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
        """Vectors of the given entities of head and tail queries."""
        return self._part("head" if kind.direction is Direction.TAIL else "tail", kind, group, unseen)

    def _part(
        self, part: str, kind: Kind, group: Sequence[Resolved], unseen: Mapping[Kind, ModalityEmbeddings]
    ) -> ModalityEmbeddings:
        if kind.unseen_part == part:
            return unseen[kind]
        return self.model.everyone().modal.rows(_ids(getattr(query, part) for query in group))

    def _exclude_selves(self, kind: Kind, group: Sequence[Resolved], found: Candidates) -> None:
        """Set the score of each query's own entity to −∞, unless its relation has loops in the graph.

        Without this, a model of a symmetric relation ranks the entity itself first.
        """
        if kind.unseen_part is not None or kind.direction not in SIDES:
            return
        rows = [
            i for i, q in enumerate(group) if q.query.leaves_out("exclude_self") and q.relation not in self.reflexive
        ]
        own = [group[i].head if kind.direction is Direction.TAIL else group[i].tail for i in rows]
        pairs = np.array(rows, dtype=np.int64), np.array(own, dtype=np.int64)
        found.scores[pairs if found.ids is None else places(found.ids, self.n_entities, *pairs)] = -np.inf

    def _exclude_false(self, kind: Kind, group: Sequence[Resolved], found: Candidates) -> None:
        """Set the scores of answers that are known to be false to −∞, except of candidates that are listed."""
        rows, columns = self._false_answers(kind, group)
        if not len(rows):
            return
        wanted = np.array([query.query.candidates is None for query in group])[rows]
        pairs = rows[wanted], columns[wanted]
        found.scores[pairs if found.ids is None else places(found.ids, self.n_entities, *pairs)] = -np.inf

    def _exclude_other_types(self, kind: Kind, group: Sequence[Resolved], found: Candidates) -> None:
        """Set the scores of entities whose type the relation never has on the side that is asked for to −∞.

        The vector of a described entity says little of its relations, and a trained one is not always sure of types.
        """
        if kind.direction not in SIDES:
            return
        for row, query in enumerate(group):
            if query.query.type is not None or not query.query.leaves_out("exclude_other_types"):
                continue
            ids = None if found.ids is None else found.ids[row]
            others = self.usual_types.others(query.relation or 0, SIDES[kind.direction], ids)
            if others is not None:
                found.scores[row, others] = -np.inf

    def _false_answers(self, kind: Kind, group: Sequence[Resolved]) -> Pairs:
        """Answers that are known to be false: pairs (row of the group, entity); none for queries with a new entity."""
        if not len(self.false) or kind.unseen_part is not None or kind.direction not in SIDES:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        given = _ids(query.head if kind.direction is Direction.TAIL else query.tail for query in group)
        rows, columns = self.false.answers(given, _ids(query.relation for query in group), kind.direction.value)
        return rows.numpy(), columns.numpy()

    def _searches(self, query: Resolved) -> bool:
        """Whether the index is used: for head and tail queries without restricted candidates."""
        if self.index is None or query.pool is not None:
            return False
        return query.query.direction in SIDES

    def lacking(self, ids: Sequence[int]) -> dict[str, int]:
        """Number of the entities ``ids`` without a feature, for each modality that some of them lack."""
        entities = self.model.entities
        masks = {m: entities.raw(m).mask for m in entities.modalities if m != STRUCTURE}
        return {m: int((~mask[list(ids)]).sum()) for m, mask in masks.items() if not mask[list(ids)].all()}


def _ids(values: Iterable[int | None]) -> Tensor:
    """Ids as a tensor; a part that is asked for gets 0, whose row is not used."""
    return torch.tensor([value or 0 for value in values])
