"""Ids by sorted hashes, columns in Arrow's memory, and checks of triples by blocks: against plain Python."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkgc.components.dataset import key_index, raw, strings
from mmkgc.components.dataset.key_index import KeyIndex
from mmkgc.components.dataset.raw import Card, RawGraph, Split, Terms
from mmkgc.components.dataset.strings import Strings
from mmkgc.components.kge.vocabulary import Vocabulary

words = st.text(st.characters(codec="utf-8"), max_size=12)
kinds = st.sampled_from([pa.string(), pa.large_string()])


@given(
    keys=st.lists(words, unique=True, max_size=30),
    others=st.lists(words, max_size=30),
    kind=kinds,
    start=st.integers(0, 3),
)
def test_ids_are_those_of_a_dictionary(keys: list[str], others: list[str], kind: pa.DataType, start: int) -> None:
    index, wanted = KeyIndex(pa.array(keys, kind)), (others + keys)[start:]
    ids = {key: place for place, key in enumerate(keys)}
    asked = pa.array(others + keys, kind)[start:]  # a slice, whose buffers begin elsewhere
    assert index.of(asked).tolist() == [ids.get(word, -1) for word in wanted]
    assert index.distinct


def test_many_keys_and_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "PIECE", 7)
    keys = [f"e{number}" for number in range(1000)] + ["", "\0", "\0\0"]
    assert KeyIndex(pa.array(keys)).of(pa.array(keys[::-1])).tolist() == list(range(len(keys)))[::-1]


def test_keys_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_index, "_hashes", lambda array: np.zeros(len(array), np.uint64))
    index = KeyIndex(pa.array(["a", "b"]))
    assert not index.distinct
    assert index.of(pa.array(["b", "c", "a"])).tolist() == [1, -1, 0]


def test_a_repeated_key_is_not_distinct() -> None:
    assert not KeyIndex(pa.array(["a", "b", "a"])).distinct


@given(values=st.lists(st.one_of(words, st.sampled_from(["", " ", " a ", "a"])), max_size=20), chunk=st.integers(1, 5))
def test_columns_are_what_python_strings_are(values: list[str], chunk: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strings, "CHUNK", chunk)
        column, others = Strings.of(values), Strings.of([value.upper() for value in values])
        assert list(column) == [column[place] for place in range(len(values))] == values
        assert list(column.stripped()) == [value.strip() for value in values]
        assert list(column.where_blank()) == [value or None for value in values]
        assert list(column.stripped().where_blank(others)) == [value.strip() or value.upper() for value in values]
        assert list(column[1:3]) == values[1:3]


triples = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1), st.integers(0, 4)), max_size=12)


@given(train=triples, asked=triples, block=st.integers(1, 4))
def test_triples_are_found_by_blocks(train: list, asked: list, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "BLOCK", block)
        patch.setattr(raw, "PART", block)
        graph = graph_of(train)
        codes = graph.codes(np.array(asked, np.int32).reshape(-1, 3))
        assert graph.in_train(codes).tolist() == [triple in train for triple in asked]
        assert graph.repeats(graph.train.triples) == (len(set(train)) < len(train))


def graph_of(train: list) -> RawGraph:
    """Five entities and two relations."""
    entities, relations = (Terms(Strings.of(keys), Strings.of(keys)) for keys in ("abcde", "rs"))
    split = Split(raw.Rows(Path("train.tsv")), np.array(train, np.int32).reshape(-1, 3))
    return RawGraph(Path(), Card(), (), entities, relations, split, None, split, {}, None)


def test_terms_as_a_vocabulary() -> None:
    assert Terms(Strings.of(["a"]), Strings.of(["A"])).vocabulary() == Vocabulary(("a",), ("A",))
