"""What an entity's features are made of: its images, or the text of its name and description."""

from dataclasses import dataclass

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.runtime import digests
from mmkgc.feature_store.writer import Entity


@dataclass(frozen=True)
class Source:
    """An entity and the items to encode: digests of images, or one text; none, and why, where it has neither."""

    key: str
    items: tuple[str, ...]
    reason: str = ""

    @property
    def content(self) -> str | None:
        """SHA-256 of what the items are."""
        return None if not self.items else digests.of_json(self.items)

    @property
    def entity(self) -> Entity:
        """As the feature store names it."""
        return Entity(self.key, self.content, self.reason)


def sources(graph: MMKG, modality: str) -> list[Source]:
    """Every entity's source, in vocabulary order."""
    entities = graph.graph.entities
    if modality == "visual":
        return [
            Source(key, images, "" if images else "no image")
            for key, images in zip(entities.keys, graph.images, strict=True)
        ]
    rows = zip(entities.keys, entities.names, graph.descriptions, strict=True)
    return [_text_source(key, name, description) for key, name, description in rows]


def _text_source(key: str, name: str, description: str | None) -> Source:
    text = ": ".join(part.strip() for part in (name, description or "") if part.strip())
    return Source(key, (text,), "") if text else Source(key, (), "no text")
