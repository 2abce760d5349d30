"""Resolves a query to ids: labels, restricted candidates and the contents of a new entity."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmkgc.components.kge.bundle import Bundle
from mmkgc.serving.api.protocol import Direction, ErrorCode, Query, QueryError, Unseen, parse_query
from mmkgc.serving.engine.labels import Labels
from mmkgc.serving.engine.unseen import UnseenEntities


class Kind(NamedTuple):
    """What all queries of one scored group share: the part asked for, the part (if any) that is a new entity, and the
    modalities that describe this entity.
    """

    direction: Direction
    unseen_part: str | None
    modalities: tuple[str, ...]


class Resolved(NamedTuple):
    """A query with its labels resolved to ids.

    The id of a part that is asked for, or that is a new entity, is ``None``. ``unseen`` holds the contents of the new
    entity by modality, ``pool`` the allowed candidates if they are restricted, int64 ascending.
    """

    place: int
    query: Query
    kind: Kind
    head: int | None
    relation: int | None
    tail: int | None
    unseen: dict[str, Any] | None
    pool: np.ndarray | None


class Resolver:
    """Resolves queries with the vocabularies of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self.entities, self.relations = Labels(bundle.entities, "entity"), Labels(bundle.relations, "relation")
        self.unseen = UnseenEntities(bundle)
        self.of_type = _ids_by_type(bundle.types)

    def resolve(self, place: int, value: Any, suggest: bool = True) -> Resolved:
        """Resolve the JSON ``value`` of the query at position ``place`` of its batch.

        Raises ``QueryError``, with suggestions for unknown labels if ``suggest`` is set.
        """
        query = parse_query(value)
        parts = [part for part in ("head", "tail") if isinstance(getattr(query, part), Unseen)]
        if len(parts) > 1:
            raise QueryError(ErrorCode.UNSUPPORTED, "at most one of head and tail may be unseen")
        head = self._entity(query.head, suggest)
        relation = None if query.relation is None else self.relations.resolve(query.relation, suggest)
        tail = self._entity(query.tail, suggest)
        part = parts[0] if parts else None
        given = self.unseen.read(getattr(query, part)) if part else None
        kind = Kind(query.direction, part, tuple(sorted(given or ())))
        return Resolved(place, query, kind, head, relation, tail, given, self._pool(query, suggest))

    def ids_of_type(self, name: str) -> np.ndarray:
        """Entities of a type, int64 ``[n]``, ascending; raises ``QueryError``."""
        found = self.of_type.get(name)
        if found is not None:
            return found
        if not self.of_type:
            raise QueryError(ErrorCode.UNKNOWN_TYPE, "this graph has no entity types")
        message = f"there is no type '{name}'; choose one of: {', '.join(sorted(self.of_type)[:20])}"
        raise QueryError(ErrorCode.UNKNOWN_TYPE, message)

    def _entity(self, part: str | Unseen | None, suggest: bool) -> int | None:
        return self.entities.resolve(part, suggest) if isinstance(part, str) else None

    def _pool(self, query: Query, suggest: bool) -> np.ndarray | None:
        if query.candidates is None and query.type is None:
            return None
        if query.direction not in (Direction.HEAD, Direction.TAIL):
            raise QueryError(ErrorCode.UNSUPPORTED, "candidates and type restrict entities; this query asks for none")
        if query.candidates is None:
            return self.ids_of_type(str(query.type))
        pool = np.unique([self.entities.resolve(label, suggest) for label in query.candidates])
        return pool if query.type is None else np.intersect1d(pool, self.ids_of_type(query.type))


def _ids_by_type(types: Sequence[str | None] | None) -> dict[str, np.ndarray]:
    found: dict[str, list[int]] = {}
    for index, name in enumerate(types or ()):
        if name:  # the type of an entity without one is None or empty
            found.setdefault(name, []).append(index)
    return {name: np.array(ids) for name, ids in found.items()}
