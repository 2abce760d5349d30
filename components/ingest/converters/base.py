"""Base class of converters: each turns one kind of source into a draft of a dataset."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from mmkgc.components.ingest.converters.draft import Draft


@dataclass(frozen=True)
class Guess:
    """What a column of a table is taken for, and why: one row of the table that the user is shown."""

    column: str
    role: str
    why: str


class Ask(Protocol):
    """Shows the guesses about a table to the user, who may correct them: returns roles by column, as ``Wishes``."""

    def __call__(self, table: str, guesses: Sequence[Guess]) -> Mapping[str, str]:
        """Roles to change by column; none if the guesses are right."""
        ...


def take(table: str, guesses: Sequence[Guess]) -> Mapping[str, str]:
    """Take every guess."""
    return {}


@dataclass(frozen=True)
class Wishes:
    """What the user says about a source.

    ``columns``: the role of a column by its name, such as ``{"director": "relation"}``; a role may name what it makes,
    ``relation:directed by``. ``separator``: between several values of a cell; by default it is found. ``language``:
    of RDF's labels and texts. ``ask``: shows the guesses, and asks if somebody can answer.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    separator: str | None = None
    language: str = "en"
    ask: Ask = take


class Converter(ABC):
    """Reads one kind of source. A converter is a file of the folder ``kinds``, in which it is found by its class."""

    rank: ClassVar[int]
    """Converters are tried in this order; special kinds come before general ones."""
    needs: ClassVar[str]
    """What a source of this kind looks like, for messages."""
    roles: ClassVar[frozenset[str]] = frozenset()
    """Roles that a user may give to columns."""

    @abstractmethod
    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether the file or folder is a source of this kind."""

    @abstractmethod
    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """The draft of the dataset called ``name``. Raises UserError, with file and line, for anything malformed."""
