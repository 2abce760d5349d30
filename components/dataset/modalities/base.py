"""What a modality is: a kind of content that entities carry, from the dataset's files to the field of a query."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from mmkgc.components.dataset.checks import Findings

Contents = tuple[Any, ...]  # of each entity, in vocabulary order
Widget = Literal["text", "picture", "pairs"]  # how the page asks for it


class Modality(ABC):
    """A kind of content, such as images; the one place that says how it is read, stored, encoded, asked for and shown.

    Every step and server asks the registry (``MODALITIES``), so that a modality is a file of this folder, called as
    recipes, features and bundles call it. What an entity has is its *content*, ``nothing`` where it has none. Content
    becomes *items*; an encoder makes a vector of each, and ``pool`` one of all.
    """

    noun: ClassVar[str]  # what an entity has: "image"
    lacking: ClassVar[str]  # why an entity has no vector: "no image"
    column: ClassVar[str | None] = None  # of entities.tsv
    file: ClassVar[str | None] = None  # of the dataset folder
    stored: ClassVar[str]  # column of the graph's table of entities
    nothing: ClassVar[Any] = ()
    encoder: ClassVar[str]  # the usual one
    default: ClassVar[bool] = True  # whether a recipe that does not name the modality extracts it
    field: ClassVar[str]  # of an unseen entity in a query
    annotation: ClassVar[Any]  # type of that field, as pydantic checks it
    refusal: ClassVar[str] = "bad_content"  # error code of a value of that field that cannot be read
    widget: ClassVar[Widget]
    option: ClassVar[str]  # of `mmkgc complete`
    metavar: ClassVar[str]
    help: ClassVar[str]

    @property
    def name(self) -> str:
        """What recipes, features and bundles call it."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def source(self) -> str:
        """Where a dataset folder holds it, for people."""
        return self.file or f"entities.tsv, column '{self.column}'"

    @property
    @abstractmethod
    def arrow(self) -> "pa.DataType":
        """Type of the column ``stored``."""

    @abstractmethod
    def read(self, folder: Path, columns: Mapping[str, Sequence[str]]) -> Contents:
        """Content of each entity; ``columns`` are those of entities.tsv, ``key`` at least.

        Raises UserError, with file and line, for anything malformed.
        """

    def accept(
        self,
        contents: Contents,
        keys: Sequence[str],
        folder: Path,
        put_blob: Callable[[bytes], str],
        findings: "Findings",
        allow_outside: bool = False,
    ) -> Contents:
        """What ingest keeps of the contents that were read; files are checked and stored here.

        Raises UserError for a file outside the dataset's folder, unless ``allow_outside``.
        """
        return contents

    def items(self, name: str, content: Any) -> Contents:
        """What is encoded of an entity of this ``name``; nothing where it has nothing. Items are hashable."""
        return content

    def effort(self, item: Any) -> int:
        """How long an item is; long ones are encoded first, because a batch is padded to its longest item."""
        return 0

    def pool(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """One vector ``[d]``, the mean, of the items' vectors; of token sequences ``[n, d]`` all in a row."""
        return np.mean(vectors, axis=0) if vectors[0].ndim == 1 else np.concatenate(vectors)

    @abstractmethod
    def from_query(self, value: Any, options: Mapping[str, Any]) -> Any:
        """The item that the checked value of a query's field means, for an encoder with these ``options``.

        Raises Unusable, which says why it means none.
        """

    def names(self, encoder: Mapping[str, Any]) -> list[str]:
        """Names that may stand in a query's field, from the ``encoder``'s identity; none where it takes anything."""
        return []

    def from_cell(self, value: Any) -> Any:
        """The JSON value of a query's field, from a cell of a table."""
        return value

    @abstractmethod
    def from_option(self, values: Sequence[str]) -> Any:
        """The JSON value of a query's field, from what the command line was given. Raises UserError."""
