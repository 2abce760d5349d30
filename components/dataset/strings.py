"""Columns of strings that stay in Arrow's memory: 4 bytes and the text of each, where Python takes 50 more."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, overload

import pyarrow as pa
import pyarrow.compute as pc

CHUNK = 1 << 16  # strings that are Python's at the same time


class Strings(Sequence[Any]):
    """A read-only sequence of strings, or None where a value is missing, over a chunked ``array`` of Arrow."""

    def __init__(self, array: pa.ChunkedArray) -> None:
        self.array = array

    @classmethod
    def of(cls, values: Iterable[str | None]) -> "Strings":
        """The column of these values."""
        if isinstance(values, cls):
            return values
        iterator, chunks = iter(values), []
        while some := list(islice(iterator, CHUNK)):
            chunks.append(pa.array(some, pa.string()))
        return cls(pa.chunked_array(chunks, pa.string()))

    def stripped(self) -> "Strings":
        """Each string without blanks at its ends."""
        return self._each(pc.utf8_trim_whitespace)

    def where_blank(self, others: "Strings | None" = None) -> "Strings":
        """The value of ``others``, or None, in place of each empty string."""
        empty = pc.equal(self.array, "")
        if not pc.any(empty).as_py():
            return self
        return Strings(pc.if_else(empty, others.array if others else pa.scalar(None, pa.string()), self.array))

    def _each(self, change: Callable[[pa.Array], pa.Array]) -> "Strings":
        """Changed chunks; those that stay as they are share their memory."""
        changed = ((chunk, change(chunk)) for chunk in self._chunks())
        return Strings(pa.chunked_array([old if old.equals(new) else new for old, new in changed], self.array.type))

    def _chunks(self) -> Iterator[pa.Array]:
        for chunk in self.array.chunks:
            yield from (chunk[start : start + CHUNK] for start in range(0, len(chunk), CHUNK))

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> "Strings": ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return Strings(self.array[place])
        return self.array[int(place)].as_py()

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[Any]:
        for chunk in self._chunks():
            yield from chunk.to_pylist()
