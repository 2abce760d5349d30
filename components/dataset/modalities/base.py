"""Base class of modalities: kinds of entity content, from the dataset's files to the fields of a query."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    from mmkgc.components.dataset.findings import Findings

Contents = Sequence[Any]  # of each entity, in vocabulary order
Items = tuple[Any, ...]  # to encode, of one entity


class Same(Sequence[Any]):
    """One value of all entities, in the memory of one."""

    def __init__(self, value: Any, count: int) -> None:
        self.value, self._places = value, range(count)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: Any) -> Any:
        found = self._places[place]
        return Same(self.value, len(found)) if isinstance(found, range) else self.value


Widget = Literal["text", "picture", "file", "pairs"]  # input element on the page (`unseen.js`)


class Modality(ABC):
    """A kind of content, such as images; defines how it is read, stored, encoded, queried and shown.

    Steps and servers use the registry (``MODALITIES``). A modality is a file of this folder, whose name is used in
    recipes, features and bundles. An entity has a *content* (``nothing`` if it has none), which is split into *items*.
    An encoder turns each item into a vector, and ``pool`` combines the vectors into one.
    """

    noun: ClassVar[str]  # name of the content: "image"
    lacking: ClassVar[str]  # why an entity has no vector: "no image"
    column: ClassVar[str | None] = None  # of entities.tsv
    file: ClassVar[str | None] = None  # of the dataset folder
    stored: ClassVar[str]  # column of the graph's table of entities
    nothing: ClassVar[Any] = ()
    encoder: ClassVar[str]  # the usual one
    default: ClassVar[bool] = True  # whether a recipe that does not name the modality extracts it
    field: ClassVar[str]  # of a new entity in a query
    annotation: ClassVar[Any]  # type of that field, as pydantic checks it
    refusal: ClassVar[str] = "bad_content"  # ErrorCode of a value of that field that cannot be read
    widget: ClassVar[Widget]
    option: ClassVar[str]  # of `mmkgc complete`
    metavar: ClassVar[str]
    help: ClassVar[str]

    @property
    def name(self) -> str:
        """Name in recipes, features and bundles."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def source(self) -> str:
        """Location in a dataset folder, for messages."""
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
        """Contents that ingest keeps; files are checked and stored here.

        Raises UserError for a file outside the dataset's folder, unless ``allow_outside``.
        """
        return contents

    def look(self, contents: Contents, folder: Path, findings: "Findings", allow_outside: bool = False) -> None:  # noqa: B027
        """Add to ``findings`` what ``accept`` would miss, without reading files; by default nothing.

        Raises UserError for a file outside the dataset's folder, unless ``allow_outside``.
        """

    def items(self, name: str, content: Any) -> Items:
        """Items to encode of an entity with this ``name``; empty if it has none. Items are hashable."""
        return content

    def effort(self, item: Any) -> int:
        """Length of an item; long ones are encoded first, because a batch is padded to its longest item."""
        return 0

    def pool(self, vectors: Sequence[np.ndarray]) -> np.ndarray:
        """Mean ``[d]`` of the items' vectors; token sequences ``[n, d]`` are concatenated."""
        return np.mean(vectors, axis=0) if vectors[0].ndim == 1 else np.concatenate(vectors)

    @abstractmethod
    def from_query(self, value: Any, options: Mapping[str, Any]) -> Any:
        """The item of the validated value of a query's field, for an encoder with these ``options``.

        Raises Unusable, with the reason, if there is none.
        """

    def names(self, encoder: Mapping[str, Any]) -> list[str]:
        """Names allowed in a query's field, from the ``encoder``'s identity; empty if there is no restriction."""
        return []

    def from_cell(self, value: Any) -> Any:
        """The JSON value of a query's field, from a cell of a table."""
        return value

    @abstractmethod
    def from_option(self, values: Sequence[str]) -> Any:
        """The JSON value of a query's field, from command-line values. Raises UserError."""
