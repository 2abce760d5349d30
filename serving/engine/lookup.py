"""Looks up the model's entities, relations and pictures, and describes the model."""

from base64 import b64encode
from functools import cached_property
from typing import Any

import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL
from mmkgc.components.kge.vocabulary import PARTS
from mmkgc.serving.engine.descriptions import Descriptions
from mmkgc.serving.engine.index import IndexInfo
from mmkgc.serving.engine.resolve import Resolver
from mmkgc.serving.engine.thumbnails import Thumbnails


class Catalog:
    """Looks up entities, relations and pictures by label; does not score."""

    def __init__(
        self,
        bundle: Bundle,
        resolver: Resolver,
        thumbnails: Thumbnails,
        index: IndexInfo | None = None,
        descriptions: Descriptions | None = None,
    ) -> None:
        self.bundle, self.resolver, self.thumbnails, self.index = bundle, resolver, thumbnails, index
        self.descriptions = descriptions or Descriptions(None)

    def search(self, text: str, limit: int, kind: str | None = None) -> dict[str, Any]:
        """Entities (of the type ``kind``) whose name or key matches ``text``, best match first.

        Without a text: those that are the head of most known triples, which are good to begin with.
        """
        most = limit if kind is None else len(self.bundle.entities)
        found = self.resolver.entities.search(text, most) if text.strip() else self._by_facts
        if kind is not None:
            allowed = set(self.resolver.ids_of_type(kind).tolist())
            found = [index for index in found if index in allowed]
        return {"entities": [self._entity(index) for index in found[:limit]]}

    @cached_property
    def _by_facts(self) -> list[int]:
        counts = torch.bincount(self.bundle.known.triples[:, HEAD], minlength=len(self.bundle.entities))
        return torch.argsort(counts, descending=True, stable=True).tolist()

    def relations(self, entity: str | None = None) -> dict[str, Any]:
        """All relations with their number of known triples, and how many of these have ``entity`` as head and as tail.

        The relations are sorted by the number of triples with ``entity``, then by the number of known triples.
        """
        known, n = self.bundle.known.triples, len(self.bundle.relations)
        total = torch.bincount(known[:, RELATION], minlength=n).tolist()
        rows = [self.resolver.relations.item(index) | {"triples": total[index]} for index in range(n)]
        if entity is not None:
            index = self.resolver.entities.resolve(entity)
            for side, column in (("as_head", HEAD), ("as_tail", TAIL)):
                counts = torch.bincount(known[known[:, column] == index][:, RELATION], minlength=n).tolist()
                for row, count in zip(rows, counts, strict=True):
                    row[side] = count
        rows.sort(key=lambda row: (-row.get("as_head", 0) - row.get("as_tail", 0), -row["triples"]))
        return {"relations": rows}

    def entity(self, label: str, limit: int) -> dict[str, Any]:
        """An entity with its description and at most ``limit`` of its known triples, those as head first.

        Raises ``QueryError`` if there is no such entity.
        """
        index = self.resolver.entities.resolve(label)
        known = self.bundle.known.triples
        as_head, as_tail = known[known[:, HEAD] == index], known[known[:, TAIL] == index]
        found = torch.cat([as_head, as_tail[as_tail[:, HEAD] != index]])
        parts = self.resolver.entities, self.resolver.relations, self.resolver.entities
        facts = [
            {part: labels.item(one) for part, labels, one in zip(PARTS, parts, triple, strict=True)}
            for triple in found[:limit].tolist()
        ]
        details = {"description": self.descriptions.get(index), "facts": facts, "total": len(found)}
        return self._entity(index) | details

    def thumbnail(self, label: str) -> dict[str, Any]:
        """The WebP picture of an entity, as base64, or null; raises ``QueryError`` if there is no such entity."""
        picture = self.thumbnails.get(self.bundle.entities.keys[self.resolver.entities.resolve(label)])
        return {"image": picture and b64encode(picture).decode(), "media_type": "image/webp"}

    def model(self) -> dict[str, Any]:
        """Interaction, fusion, modalities, sizes, calibration and provenance of the model."""
        bundle = self.bundle
        config = bundle.model.config
        return {
            "interaction": config.interaction["name"],
            "fusion": config.fusion["name"],
            "dimension": config.dimension,
            "modalities": list(bundle.model.entities.modalities),
            "encoders": {m: f"{spec['encoder']} ({spec['weights']})" for m, spec in bundle.encoders.items()},
            "describing": self.resolver.unseen.describing(),
            "entities": len(bundle.entities),
            "relations": len(bundle.relations),
            "train_triples": len(bundle.train),
            "known_triples": len(bundle.known),
            "types": sorted(self.resolver.of_type),
            "search": "exact scan" if self.index is None else str(self.index),
            "calibrated": bundle.calibration is not None,
            "unseen_entities": "trained" if config.structure_dropout else "without a trained missing-structure path",
            "provenance": bundle.provenance,
        }

    def _entity(self, index: int) -> dict[str, Any]:
        item = self.resolver.entities.item(index)
        kind = (self.bundle.types[index] or None) if self.bundle.types else None
        return item | {"type": kind, "picture": item["key"] in self.thumbnails.keys}
