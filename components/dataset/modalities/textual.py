"""Texts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mmkgc.components.dataset.modalities.base import Contents, Items, Modality, Same

if TYPE_CHECKING:
    import pyarrow as pa

MAX_TEXT = 10_000


class Textual(Modality):
    """The text "name: description" of an entity, or its name alone."""

    noun = "description"
    lacking = "no text"
    column = "description"
    stored = "description"
    nothing = None
    encoder = "sbert"
    field = "text"
    annotation = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    widget = "text"
    option = "--text"
    metavar = "TEXT"
    help = "Describes the entity that is written @."

    @property
    def arrow(self) -> "pa.DataType":
        """A description, or null."""
        import pyarrow as pa

        return pa.string()

    def read(self, folder: Path, columns: Mapping[str, Sequence[str]]) -> Contents:
        """The description of each entity, or None."""
        from mmkgc.components.dataset.strings import Strings

        if "description" not in columns:
            return Same(self.nothing, len(columns["key"]))
        return Strings.of(columns["description"]).stripped().where_blank()

    def items(self, name: str, content: str | None) -> Items:
        """One text, unless name and description are blank."""
        text = ": ".join(part.strip() for part in (name, content or "") if part.strip())
        return (text,) if text else ()

    def effort(self, item: str) -> int:
        """Characters of a text."""
        return len(item)

    def from_query(self, value: str, options: Mapping[str, Any]) -> str:
        """The text itself."""
        return value

    def from_option(self, values: Sequence[str]) -> str:
        """The text itself."""
        return values[-1]
