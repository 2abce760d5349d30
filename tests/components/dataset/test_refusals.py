"""Every refusal: what a file says, and the sentence that the user reads."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.ingest.source import fingerprint
from mmkgc.components.runtime.errors import UserError

Write = Callable[..., Path]
Build = Callable[..., MMKG]

HEADER = "head\trelation\ttail\n"

TSV_REFUSALS = {
    "unknown head": (
        {"train.tsv": HEADER + "no\tborders\tse\nnoo\tborders\tse\nxx\tborders\tse\n"},
        ["train.tsv, line 3", "head 'noo' is not in entities.tsv (and 1 more such line)", "did you mean 'no'?"],
    ),
    "unknown relation": (
        {"test.tsv": "no\tborder\tse\n"},
        ["test.tsv, line 1", "relation 'border' is not in relations.tsv", "did you mean 'borders'?"],
    ),
    "unlike any key": (
        {"test.tsv": "no\tborders\tAtlantis\n"},
        ["test.tsv, line 1", "tail 'Atlantis' is not in entities.tsv", "add it to entities.tsv"],
    ),
    "too few columns": (
        {"train.tsv": HEADER + "no\tborders\tse\nse\tborders\n"},
        ["train.tsv, line 3", "2 columns where 3 belong", "one tab"],
    ),
    "blanks for tabs": (
        {"train.tsv": "no borders se\nse borders fi\n"},
        ["train.tsv, line 1", "1 column where 3 belong (and 1 more such line)", "one tab"],
    ),
    "too many columns": ({"train.tsv": "no\tborders\tse\t1\n"}, ["train.tsv, line 1", "4 columns where 3 belong"]),
    "confidence zero": (
        {"train.tsv": "head\trelation\ttail\tconfidence\nno\tborders\tse\t1\nse\tborders\tfi\t0\n"},
        ["train.tsv, line 3", "confidence '0' is not a number above 0 and at most 1", "negatives.tsv"],
    ),
    "confidence in words": (
        {"train.tsv": "head\trelation\ttail\tconfidence\nno\tborders\tse\thigh\nse\tborders\tfi\t1.2\n"},
        ["train.tsv, line 2", "confidence 'high' is not a number", "(and 1 more such line)"],
    ),
    "confidence of test": (
        {"test.tsv": "head\trelation\ttail\tconfidence\nfi\tborders\tse\t0.5\n"},
        ["test.tsv, line 1", "the column 'confidence' belongs to train.tsv alone", "delete the column"],
    ),
    "confidence misspelt": (
        {"train.tsv": "head\trelation\ttail\tconfidense\nno\tborders\tse\t0.5\n"},
        ["train.tsv, line 1", "unknown column 'confidense'", "did you mean 'confidence'?"],
    ),
    "two confidences": (
        {
            "train.tsv": "head\trelation\ttail\tconfidence\nno\tborders\tse\t0.5\nse\tborders\tfi\t1\n"
            "no\tcapital\tosl\t1\nno\tborders\tse\t0.7\n"
        },
        ["train.tsv, line 5", "the confidence 0.7 of this triple differs from 0.5 in line 2", "keep one of the two"],
    ),
    "false and true": (
        {"negatives.tsv": HEADER + "fi\tcapital\tosl\nse\tborders\tfi\n"},
        ["negatives.tsv, line 3", "known to be false here and true in", "train.tsv, line 3", "remove it from one"],
    ),
    "false and held out": (
        {"negatives.tsv": "fi\tborders\tse\n"},
        ["negatives.tsv, line 1", "known to be false here and true in", "test.tsv, line 1"],
    ),
    "unknown false head": (
        {"negatives.tsv": "nno\tborders\tse\n"},
        ["negatives.tsv, line 1", "head 'nno' is not in entities.tsv", "did you mean 'no'?"],
    ),
    "blank line inside": (
        {"train.tsv": "no\tborders\tse\n\nse\tborders\tfi\n"},
        ["train.tsv, line 2", "the line is empty", "delete it"],
    ),
    "entity row too short": (
        {"entities.tsv": "key\tname\tdescription\nno\tNorway\n"},
        ["entities.tsv, line 2", "2 columns where 3 belong", "key, name, description"],
    ),
    "head tail relation": (
        {"train.tsv": "no\tse\tborders\nse\tfi\tborders\n"},
        ["train.tsv, line 1", "'se' in the relation column is an entity", "head, relation, tail"],
    ),
    "relation first": (
        {"train.tsv": "borders\tno\tse\n"},
        ["train.tsv, line 1", "'borders' in the head column is a relation", "head, relation, tail"],
    ),
    "header in another order": (
        {"train.tsv": "head\ttail\trelation\nno\tse\tborders\n"},
        ["train.tsv, line 1", "the columns are head, tail, relation", "order head, relation, tail"],
    ),
    "duplicate entity": (
        {"entities.tsv": "key\tname\nno\tNorway\nse\tSweden\nno\tNoway\n"},
        ["entities.tsv, line 4", "key 'no' is already on line 2", "keep one"],
    ),
    "duplicate relation": (
        {"relations.tsv": "key\tname\nborders\tb\nborders\tb\n"},
        ["relations.tsv, line 3", "key 'borders' is already on line 2"],
    ),
    "empty key": ({"entities.tsv": "key\tname\n\tNorway\n"}, ["entities.tsv, line 2", "the key is empty"]),
    "too long a key": (
        {"entities.tsv": f"key\tname\nno\tNorway\n{'x' * 501}\tlong\n"},
        ["entities.tsv, line 3", "xxx' has 501 characters, and queries take 500", "give it a shorter key"],
    ),
    "no header": (
        {"entities.tsv": "no\tNorway\nse\tSweden\n"},
        ["entities.tsv, line 1", "header 'key name' is missing", "found 'no\\tNorway'"],
    ),
    "header of other names": (
        {"train.tsv": "subject\tpredicate\tobject\nno\tborders\tse\nse\tborders\tfi\n"},
        [
            "train.tsv, line 1",
            "'subject predicate object' are no keys",
            "like a header",
            "the header is head, relation",
        ],
    ),
    "repeated header of entities": (
        {"entities.tsv": "key\tname\nno\tNorway\nse\tSweden\nkey\tname\nfi\tFinland\nosl\tOslo\n"},
        ["entities.tsv, line 4", "the header is repeated", "delete this line"],
    ),
    "repeated header of relations": (
        {"relations.tsv": "key\tname\nborders\tb\nkey\tname\ncapital\tc\n"},
        ["relations.tsv, line 3", "the header is repeated"],
    ),
    "repeated header of triples": (
        {"train.tsv": HEADER + "no\tborders\tse\n" + HEADER + "se\tborders\tfi\n"},
        ["train.tsv, line 3", "the header is repeated", "delete this line"],
    ),
    "another Unicode form": (
        {"train.tsv": "no\tborders\tse\nno\tborders\tZoe\u0308\n"}
        | {"entities.tsv": "key\tname\nZo\xeb\tZ\nno\tNorway\nse\tSweden\nfi\tFinland\n"},
        [
            "train.tsv, line 2",
            "tail 'Zoe\u0308' is not in entities.tsv",
            "'Zo\xeb' is there in another Unicode form",
            "NFC",
        ],
    ),
    "a character that cannot be seen": (
        {"train.tsv": "no\tborders\tse\u200b\n"},
        ["train.tsv, line 1", "'se' is there and looks the same; they differ in U+200B", "remove it"],
    ),
    "a blank that does not break": (
        {"train.tsv": "no\tborders\tse\xa0\n"},
        ["train.tsv, line 1", "'se' is there and looks the same; they differ in U+00A0"],
    ),
    "a blank at the end": (
        {"train.tsv": "no\tborders\tse \n"},
        ["train.tsv, line 1", "tail 'se ' is not in entities.tsv", "'se' is there"],
    ),
    "another case": ({"train.tsv": "no\tborders\tSE\n"}, ["tail 'SE' is not in", "did you mean 'se'?"]),
    "packed": (
        {"train.tsv": None, "train.tsv.gz": b"\x1f\x8b"},
        ["train.tsv: this file is missing", "'train.tsv.gz' is there"],
    ),
    "a file name of another case": (
        {"test.tsv": None, "Test.tsv": ""},
        ["test.tsv: this file is missing", "'Test.tsv' is there"],
    ),
    "carriage returns alone": (
        {"train.tsv": "no\tborders\tse\rse\tborders\tfi\r"},
        ["train.tsv", "end in a carriage return alone", "LF or CR LF"],
    ),
    "a megabyte for a key": (
        {"train.tsv": "no\tborders\t" + "x" * 1_000_000},
        ["train.tsv, line 1", "tail 'xxx", " … ", "xxx' is not in entities.tsv"],
    ),
    "an escape sequence for a key": (
        {"train.tsv": "no\tborders\t\x1b[2Jse\n"},
        ["train.tsv, line 1", r"tail '\x1b[2Jse' is not in entities.tsv"],
    ),
    "unknown column": (
        {"entities.tsv": "key\tname\timages\nno\tNorway\t\n"},
        ["entities.tsv, line 1", "column 'images'", "did you mean 'image'?"],
    ),
    "no entities": ({"entities.tsv": "key\tname\n"}, ["entities.tsv", "no rows follow the header"]),
    "empty train": ({"train.tsv": HEADER}, ["train.tsv", "this split is empty", "write triples"]),
    "empty valid": ({"valid.tsv": ""}, ["valid.tsv", "this split is empty", "delete the file"]),
    "empty test": ({"test.tsv": "\n\n"}, ["test.tsv", "this split is empty"]),
    "not UTF-8": (
        {"train.tsv": b"no\tborders\tse\nno\tborders\tSu\xe8de\n"},
        ["train.tsv, line 2", "byte 14 of the line, 0xE8, is not UTF-8", "UTF-8"],
    ),
    "test in train": (
        {"test.tsv": "fi\tborders\tse\nse\tborders\tfi\nno\tcapital\tosl\n"},
        ["test.tsv, line 2", "also in train (train.tsv, line 3) (and 1 more", "allow_leakage"],
    ),
    "missing test": ({"test.tsv": None}, ["test.tsv", "missing", "train.tsv, test.tsv, entities.tsv"]),
    "missing entities": ({"entities.tsv": None}, ["entities.tsv", "missing"]),
    "wrong key in the card": (
        {"dataset.yaml": "license: MIT"},
        ["dataset.yaml", "'license'", "did you mean 'licence'?"],
    ),
    "a key twice in the card": (
        {"dataset.yaml": "name: a\nname: b\n"},
        ["dataset.yaml", "the key 'name' is given twice"],
    ),
    "too long a name in the card": ({"dataset.yaml": f"name: {'x' * 501}"}, ["'name'", "at most 500 characters"]),
    "wrong value in the card": ({"dataset.yaml": "columns: thr"}, ["dataset.yaml", "'columns'", "htr"]),
    "a card of deep nesting": ({"dataset.yaml": "name: " + "[" * 1500}, ["dataset.yaml", "not a YAML mapping"]),
    "a card with a huge integer": ({"dataset.yaml": "name: " + "9" * 5000}, ["dataset.yaml", "not a YAML mapping"]),
    "a card whose key is a number": ({"dataset.yaml": "1: 2"}, ["dataset.yaml", "unknown key '1'"]),
    "a card of bytes": ({"dataset.yaml": b"name: \xe8"}, ["dataset.yaml", "not a YAML mapping"]),
    "card of another kind": ({"dataset.yaml": "- a\n- b\n"}, ["dataset.yaml", "not a YAML mapping", "key: value"]),
}

OPENKE_REFUSALS = {
    "false count": (
        {"train2id.txt": "5\n0 1 0\n1 2 0\n0 3 1\n2 0 0\n"},
        ["train2id.txt, line 1", "the count says 5 rows, 4 follow", "correct the count"],
    ),
    "a count of 5,000 digits": (
        {"train2id.txt": "9" * 5000 + "\n0 1 0\n"},
        ["train2id.txt, line 1", "the count says 999", "rows, 1 follow"],
    ),
    "id first": (
        {"entity2id.txt": "4\n0\tno\n1\tse\n2\tfi\n3\tosl\n"},
        ["entity2id.txt, line 2", "found '0\\tno'", "the ids stand first in this file: write the key, then its id"],
    ),
    "id first, and keys are numbers": (
        {"entity2id.txt": "4\n0 64\n1 30\n2 90\n3 17\n"},
        ["entity2id.txt, line 2", "id 64 where 4 keys are", "the ids stand first in this file"],
    ),
    "no count": (
        {"test2id.txt": "2 1 0\n"},
        ["test2id.txt, line 1", "count of rows; found '2 1 0'", "put 1 on a line of its own"],
    ),
    "empty file": ({"test2id.txt": ""}, ["test2id.txt: this file is empty", "count of rows"]),
    "empty split": ({"test2id.txt": "0\n"}, ["test2id.txt", "this split is empty"]),
    "two ids": ({"test2id.txt": "1\n2 1\n"}, ["test2id.txt, line 2", "three ids belong here; found '2 1'"]),
    "keys for ids": (
        {"test2id.txt": "1\nfi se borders\n"},
        ["test2id.txt, line 2", "found 'fi se borders'", "write their ids, as in entity2id.txt"],
    ),
    "a header for the count": (
        {"entity2id.txt": "entity\tid\nno 0\nse 1\nfi 2\nosl 3\n"},
        ["entity2id.txt, line 1", "found 'entity\\tid'", "write 4 in its place"],
    ),
    "relation second": (
        {"train2id.txt": "3\n0 0 1\n0 1 3\n1 0 2\n"},
        ["train2id.txt, line 3", "relation id 3 where 2 relations are", "columns: hrt"],
    ),
    "either order": (
        dict.fromkeys(("train2id.txt", "valid2id.txt", "test2id.txt"), "1\n0 1 1\n"),
        ["both column orders", "columns: htr"],
    ),
    "id out of range": (
        {"test2id.txt": "2\n2 1 0\n9 3 0\n"},
        ["test2id.txt, line 3", "head id 9 where 4 entities are", "correct the id"],
    ),
    "entity id out of range": (
        {"entity2id.txt": "4\nno 0\nse 1\nfi 2\nosl 4\n"},
        ["entity2id.txt, line 5", "id 4 where 4 keys are", "from 0 to 3"],
    ),
    "id twice": (
        {"entity2id.txt": "4\nno 0\nse 1\nfi 1\nosl 3\n"},
        ["entity2id.txt, line 4", "id 1 is already taken"],
    ),
    "key twice": ({"relation2id.txt": "2\nborders 0\nborders 1\n"}, ["relation2id.txt, line 3", "already on line 2"]),
    "no id": ({"relation2id.txt": "2\nborders\ncapital 1\n"}, ["relation2id.txt, line 2", "found 'borders'"]),
    "missing file": ({"relation2id.txt": None}, ["relation2id.txt", "missing", "train2id.txt and test2id.txt"]),
    "test in train": ({"test2id.txt": "1\n0 3 1\n"}, ["test2id.txt, line 2", "(train2id.txt, line 4)"]),
}


@pytest.mark.parametrize(("changes", "said"), TSV_REFUSALS.values(), ids=TSV_REFUSALS.keys())
def test_a_dataset_folder_is_refused(write_tsv: Write, built: Build, tmp_path: Path, changes: dict, said: list) -> None:
    _refused(lambda: built(write_tsv(changes)), said, tmp_path)


@pytest.mark.parametrize(("changes", "said"), OPENKE_REFUSALS.values(), ids=OPENKE_REFUSALS.keys())
def test_an_openke_folder_is_refused(
    write_openke: Write, built: Build, tmp_path: Path, changes: dict, said: list
) -> None:
    _refused(lambda: built(write_openke(changes)), said, tmp_path)


def test_train_without_a_triple_to_spare_is_refused(write_tsv: Write, built: Build, tmp_path: Path) -> None:
    sparse = {"train.tsv": "no\tborders\tse\nfi\tcapital\tosl\n", "valid.tsv": None, "test.tsv": "se\tborders\tno\n"}
    _refused(lambda: built(write_tsv(sparse)), ["train.tsv", "no triple can be spared", "add a valid split"], tmp_path)


def test_a_misspelt_name_is_refused_with_the_bundled_one(built: Build) -> None:
    with pytest.raises(UserError, match=r"contries: .*did you mean 'countries'\?.*entities\.tsv.*entity2id\.txt"):
        built("contries")


def test_a_folder_without_a_dataset_is_refused(built: Build, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "notes.txt").touch()
    with pytest.raises(UserError, match=r"elsewhere: no dataset.*found notes\.txt.*train\.tsv.*entity2id\.txt"):
        built(folder)


@pytest.mark.parametrize("name", ["valid.tsv", "dev.tsv", "train.tsv", "literals.tsv", "dataset.yaml"])
def test_a_link_that_leads_nowhere_is_refused(write_tsv: Write, built: Build, tmp_path: Path, name: str) -> None:
    folder = write_tsv({"valid.tsv": None})
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "gone")
    _refused(lambda: built(folder), [name, "symbolic link leads to no file", "restore what it leads to"], tmp_path)


@pytest.mark.timeout(20)
def test_a_pipe_in_the_place_of_a_file_is_refused(write_tsv: Write, built: Build, tmp_path: Path) -> None:
    folder = write_tsv({"valid.tsv": None, "dataset.yaml": None})
    for name in ("valid.tsv", "dataset.yaml"):
        os.mkfifo(folder / name)
        _refused(lambda: built(folder), [name, "this is not a regular file"], tmp_path)
        (folder / name).unlink()


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_working_folder(built: Build, name: str) -> None:
    for use in (built, fingerprint):
        with pytest.raises(UserError, match="the name is empty"):
            use(name)


def _refused(build: Callable[[], object], said: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        build()
    for fragment in said:
        assert fragment in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 800
    assert not (tmp_path / "store").exists(), "nothing is written"
