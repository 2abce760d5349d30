"""Reading block by block gives what reading line by line gives: the same ids, or the same sentence about a fault."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.dataset import stream
from mmkgc.components.dataset.raw import Split
from mmkgc.components.dataset.readers import folder as reader
from mmkgc.components.dataset.readers.folder import SplitReader
from mmkgc.components.runtime.errors import UserError

ENTITIES, RELATIONS = ["a", "bb", "é", 'quo"ted', "with blank", "NULL", "nan"], ["r", "s"]
lines = st.one_of(
    st.tuples(*map(st.sampled_from, (ENTITIES, RELATIONS, ENTITIES))).map("\t".join),
    st.sampled_from(["head\trelation\ttail", "Head\tRelation\tTail", "tail\trelation\thead", "", "a\tr", "a\tr\ta\ta"]),
    st.sampled_from(["a\tx\ta", "A\tr\ta", "a\tr\ta\r", "\ufeffa\tr\ta", '"a"\tr\ta', "a\tr\t", "\t\t"]),
)
usual = st.tuples(*map(st.sampled_from, (ENTITIES, RELATIONS, ENTITIES))).map("\t".join)
texts = st.builds(
    lambda start, rows, end, last: (start + end.join(rows) + last).encode(),
    st.sampled_from(["", "\ufeff", "head\trelation\ttail\n"]),
    st.one_of(st.lists(usual, max_size=8), st.lists(lines, max_size=5)),
    st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    st.sampled_from(["", "\n", "\n\n", "\r\n", "\xff"]),
)


def outcome(read: Callable[[str], Split]) -> tuple[Any, ...]:
    """First line and triples, or the error."""
    try:
        split = read("train.tsv")
    except UserError as error:
        return (str(error),)
    return split.lines.first, split.triples.tolist()


@given(data=texts, block=st.sampled_from([16, 64, 1 << 20]))
@settings(deadline=None, max_examples=150)
def test_blocks_give_what_lines_give(data: bytes, block: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / "train.tsv").write_bytes(data)
        read = SplitReader(Path(folder), ENTITIES, RELATIONS).read
        patch.setattr(stream, "BLOCK_BYTES", block)
        streamed = outcome(read)
        patch.setattr(reader, "read_ids", lambda path, keys: None)
        assert streamed == outcome(read)


def test_a_file_without_fault_is_not_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{ENTITIES[i % 7]}\t{RELATIONS[i % 2]}\t{ENTITIES[i * 3 % 7]}" for i in range(500)]
    (tmp_path / "train.tsv").write_text(
        "\ufeffhead\trelation\ttail\r\n" + "\r\n".join(rows), encoding="utf-8", newline=""
    )
    monkeypatch.setattr(reader, "Lines", None)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 256)  # the line ends of many blocks are cut in two
    split = SplitReader(tmp_path, ENTITIES, RELATIONS).read("train.tsv")
    assert split.lines.first == 2
    assert split.triples.dtype == np.int32
    assert split.triples.tolist() == [[i % 7, i % 2, i * 3 % 7] for i in range(500)]


cells = st.sampled_from(["a", "é", "key", "KEY", "name", " ", "", "no\tn", "x" * 501, "\r", '"', "NULL", "\ufeff"])
tables = st.builds(
    lambda first, rows, end, last: (first + end + end.join(map("\t".join, rows)) + last).encode(),
    st.sampled_from(
        ["key\tname\tdescription", " Key\tNAME\ttype", "key\tname\tkey", "name\tkey\ttype", "\ufeffkey\tname\ttype"]
    ),
    st.lists(st.tuples(st.one_of(st.integers(0, 30).map(str), cells), cells, cells), max_size=6),
    st.sampled_from(["\n", "\n", "\r\n", "\r"]),
    st.sampled_from(["", "\n", "\n\n", "\xff"]),
)


def columns(folder: Path) -> Any:
    """The columns of entities.tsv, or the error."""
    try:
        return {name: list(column) for name, column in reader.table(folder / "entities.tsv", reader.OPTIONAL).items()}
    except UserError as error:
        return str(error)


@given(data=tables, block=st.sampled_from([64, 1 << 20]))
@settings(deadline=None, max_examples=150)
def test_a_table_by_blocks_is_the_table_by_lines(data: bytes, block: int) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / "entities.tsv").write_bytes(data)
        patch.setattr(stream, "BLOCK_BYTES", block)
        streamed = columns(Path(folder))
        patch.setattr(reader, "_streamed", lambda path, optional: None)
        assert streamed == columns(Path(folder))


def test_a_table_without_fault_is_not_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"e{number}\tname {number}\t" for number in range(500)]
    (tmp_path / "entities.tsv").write_text("key\tname\ttype\n" + "\n".join(rows) + "\n", encoding="utf-8")
    monkeypatch.setattr(reader, "Lines", None)
    monkeypatch.setattr(stream, "BLOCK_BYTES", 256)
    found = columns(tmp_path)
    assert found["key"] == [f"e{number}" for number in range(500)]
    assert found["name"][499] == "name 499"
    assert found["type"] == [""] * 500


def test_columns_whose_pages_were_given_back_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "entities.tsv"
    path.write_text("key\tname\n" + "".join(f"k{row}\tname {row}\n" for row in range(50_000)))
    columns = stream.read_columns(path, ["key", "name"])
    assert columns is not None
    before = [column.to_pylist() for column in columns]
    stream.release_unused()
    assert [column.to_pylist() for column in columns] == before
