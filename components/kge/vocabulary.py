"""Vocabularies of a graph, and the order of a triple; without PyTorch, so that readers of datasets start fast."""

from dataclasses import dataclass
from functools import cached_property

HEAD, RELATION, TAIL = 0, 1, 2
PARTS = ("head", "relation", "tail")
"""Names of the parts of a triple, in their order."""
LONGEST_KEY = 500
"""Largest number of characters of a key, and of a label in a query."""


@dataclass(frozen=True)
class Vocabulary:
    """Keys and human-readable names of entities or relations; the id is the position."""

    keys: tuple[str, ...]
    names: tuple[str, ...]

    @cached_property
    def ids(self) -> dict[str, int]:
        """Id by key."""
        return {key: index for index, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)
