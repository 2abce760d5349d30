"""Lists of keys for imported vectors, by the rules of the dataset's own files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.keys import read_keys
from mmkgc.components.runtime.errors import UserError

Write = Callable[..., Path]
Build = Callable[..., MMKG]


@pytest.mark.parametrize(
    "text",
    [
        "Q1\nQ2\nQ3\n",
        "\ufeffQ1\r\nQ2\r\nQ3\r\n\r\n",
        "Q1\tone\nQ2\ttwo\nQ3\tthree\tand more\n",
        "key\nQ1\nQ2\nQ3\n",
        "key\tlabel\nQ1\tone\nQ2\ttwo\nQ3\tthree\n",
        "key\tname\nQ1\tone\nQ2\ttwo\nQ3\tthree\n",
        "\ufeffKey\tName\timage\nQ1\tone\t\nQ2\ttwo\t\nQ3\tthree\t\n",
        "3\nQ3\t2\nQ1\t0\nQ2\t1\n",
        "3\nQ1 0\nQ2 1\nQ3   2 \n",
    ],
)
def test_keys_are_read_from_every_kind_of_list(text: str, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(text, encoding="utf-8")
    assert read_keys(tmp_path / "keys") == ["Q1", "Q2", "Q3"]


KEYS = ["a\u2028b", " led by a blank", "two words", "x\x85y", "7"]


def test_the_keys_of_a_dataset_are_those_that_ingest_reads(write_tsv: Write, built: Build, tmp_path: Path) -> None:
    (tmp_path / "keys.txt").write_text("\n".join(KEYS), encoding="utf-8")
    assert read_keys(tmp_path / "keys.txt") == KEYS
    entities = "\n".join(["key\tname", *(f"{key}\tname" for key in KEYS)])
    triples = {
        "train.tsv": "7\tborders\t7\n7\tborders\tx\x85y\n",
        "valid.tsv": "7\tborders\ttwo words\n",
        "test.tsv": "x\x85y\tborders\t7\n",
    }
    folder = write_tsv({"entities.tsv": entities} | triples)
    assert list(built(folder).graph.entities.keys) == read_keys(folder / "entities.tsv") == KEYS


def test_openke_keys_of_several_words_keep_them(write_openke: Write, built: Build) -> None:
    folder = write_openke({"entity2id.txt": "4\nthe sea 1\nno 0\nfi 2\n12 3\n"})
    assert (
        list(built(folder).graph.entities.keys) == read_keys(folder / "entity2id.txt") == ["no", "the sea", "fi", "12"]
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"Q1\nQ1\n", "keys, line 2: key 'Q1' is already on line 1"),
        (b"Q1\n\nQ2\n", "keys, line 2: the key is empty"),
        ("é\n".encode("latin-1"), "keys, line 1: .* is not UTF-8"),
        (b"3\nQ1 0\nQ2 1\n", "the count says 3 rows, 2 follow"),
        (b"Q1\rQ2\r", "carriage return alone"),
        (None, "this file is missing"),
    ],
)
def test_bad_key_lists_are_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_keys(tmp_path / "keys")
