"""Texts of entities beside a bundle, for people who look at an answer; the model does not read them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

FILE = "descriptions.arrow"


def write_descriptions(path: Path, texts: Sequence[str | None]) -> None:
    """Write one text per entity, in the order of the vocabulary; no file where there are none."""
    if not any(texts):
        return
    table = pa.table({"text": pa.array(texts, pa.large_string())})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


class Descriptions:
    """Texts by entity, from a memory-mapped file; empty if the file is missing."""

    def __init__(self, path: Path | None) -> None:
        found = path is not None and path.exists()
        self._texts = pa.ipc.open_file(pa.memory_map(str(path))).read_all()["text"] if found else None

    def get(self, index: int) -> str | None:
        """The text of the entity with this id, or None."""
        return None if self._texts is None else self._texts[index].as_py()
