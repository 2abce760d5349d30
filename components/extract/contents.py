"""The inputs of feature extraction: images, texts of name and description, numbers, … of each entity."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.modalities import MODALITIES
from mmkgc.components.runtime import digests
from mmkgc.feature_store.writer import Entity


@dataclass(frozen=True)
class Source:
    """An entity and its items to encode (digests of images, one text, …), or the reason why it has none."""

    key: str
    items: tuple[Any, ...]
    reason: str = ""

    @cached_property
    def content(self) -> str | None:
        """SHA-256 of the items."""
        return None if not self.items else digests.of_json(self.items)

    @property
    def entity(self) -> Entity:
        """As the feature store names it."""
        return Entity(self.key, self.content, self.reason)


def sources(graph: MMKG, modality: str) -> list[Source]:
    """Every entity's source, in vocabulary order."""
    kind, entities = MODALITIES[modality], graph.graph.entities
    rows = zip(entities.keys, entities.names, graph.content(modality), strict=True)
    made = ((key, kind.items(name, content)) for key, name, content in rows)
    return [Source(key, items, "" if items else kind.lacking) for key, items in made]
