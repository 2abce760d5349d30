"""Both formats, read as a user writes them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkgc.components.dataset.mmkg import MMKG
from mmkgc.components.dataset.readers.openke import readable

Write = Callable[..., Path]
Build = Callable[..., MMKG]


def test_a_dataset_folder_is_read(write_tsv: Write, built: Build) -> None:
    mmkg = built(write_tsv({"dataset.yaml": "name: Nordic\nsource: an atlas\nlicence: CC0\n"}))
    assert mmkg.graph.entities.keys == ("no", "se", "fi", "osl")
    assert mmkg.graph.entities.names == ("Norway", "Sweden", "Finland", "Oslo")
    assert mmkg.graph.relations.names == ("borders", "has capital")
    assert mmkg.graph.train.tolist() == [[0, 0, 1], [1, 0, 2], [0, 1, 3], [2, 0, 0]]
    assert mmkg.content("textual") == ("a kingdom", None, "a republic", None)
    assert mmkg.graph.types is None
    assert [mmkg.info[key] for key in ("name", "source", "licence", "leakage")] == ["Nordic", "an atlas", "CC0", 0]
    assert mmkg.info["warnings"] == []


def test_header_line_ends_and_byte_order_marks_do_not_matter(write_tsv: Write, built: Build) -> None:
    plain = built(write_tsv())
    train = "\ufeffno\tborders\tse\r\nse\tborders\tfi\r\nno\tcapital\tosl\r\nfi\tborders\tno\r\n\r\n"
    relations = "\ufeffKey\tName\r\nborders\tborders\r\ncapital\thas capital"
    windows = built(write_tsv({"train.tsv": train, "relations.tsv": relations}))
    assert windows.graph.train.tolist() == plain.graph.train.tolist()
    assert windows.graph.relations == plain.graph.relations


def test_optional_columns_come_in_any_order_and_may_be_empty(write_tsv: Write, built: Build) -> None:
    entities = (
        "key\tname\ttype\tdescription\nno\tNorway\tcountry\t\nse\t\t\ta kingdom\nfi\tFinland\t\t\nosl\tOslo\tcity\t \n"
    )
    mmkg = built(write_tsv({"entities.tsv": entities}))
    assert mmkg.graph.types == ("country", "", "", "city")
    assert mmkg.graph.entities.names[1] == "se", "a missing name is the key"
    assert mmkg.content("textual") == (None, "a kingdom", None, None)


def test_nothing_is_special_in_a_cell(write_tsv: Write, built: Build) -> None:
    rows = ['no\tNA\t"quoted, with a comma', "se\tnull\t#1", "fi\t1.0\tnot a\u2028line", "osl\tÅlesund\t\\N"]
    mmkg = built(write_tsv({"entities.tsv": "\n".join(["key\tname\tdescription", *rows])}))
    assert mmkg.graph.entities.names == ("NA", "null", "1.0", "Ålesund")
    assert mmkg.content("textual") == ('"quoted, with a comma', "#1", "not a\u2028line", "\\N")


@pytest.mark.parametrize("name", ["dev.tsv", "val.tsv", "validation.tsv"])
def test_the_development_split_may_have_its_other_names(write_tsv: Write, built: Build, name: str) -> None:
    mmkg = built(write_tsv({"valid.tsv": None, name: "se\tborders\tno\n"}))
    assert mmkg.graph.valid.tolist() == [[1, 0, 0]]
    assert mmkg.info["notes"] == [f"{name} is read as the development split."]
    assert name in mmkg.info["made_from"]


def test_an_openke_development_split_may_have_its_other_name(write_openke: Write, built: Build) -> None:
    mmkg = built(write_openke({"valid2id.txt": None, "dev2id.txt": "1\n1 0 0\n"}))
    assert mmkg.graph.valid.tolist() == [[1, 0, 0]]
    assert mmkg.info["notes"] == ["dev2id.txt is read as the development split."]


def test_files_that_are_not_read_are_told(write_tsv: Write, built: Build) -> None:
    mmkg = built(write_tsv({"dev.tsv": "no\tborders\tno\n", "numbers.tsv": "a\n", "notes.txt": "a\n"}))
    assert mmkg.graph.valid.tolist() == [[1, 0, 0]], "valid.tsv comes first"
    assert mmkg.info["notes"] == ["Files that are not read: dev.tsv, numbers.tsv."]


def test_other_forms_of_the_datasets_files_are_told_too(write_tsv: Write, built: Build) -> None:
    others = {"valid.tsv": None, "valid.txt": "a\n", "Train.csv": "a\n", "train2id.txt": "0\n"}
    mmkg = built(write_tsv(others))
    assert mmkg.info["notes"][0] == "Files that are not read: Train.csv, train2id.txt, valid.txt."


def test_openke_files_give_the_same_graph(write_tsv: Write, write_openke: Write, built: Build) -> None:
    keyed, numbered = built(write_tsv()), built(write_openke())
    assert numbered.graph.entities.keys == keyed.graph.entities.keys
    for split in ("train", "valid", "test", "known"):
        assert getattr(numbered.graph, split).tolist() == getattr(keyed.graph, split).tolist()
    assert numbered.content("textual") == (None,) * 4
    assert numbered.info["name"] == "nordic-ids"


def test_openke_ids_may_come_in_any_order_and_spacing(write_openke: Write, built: Build) -> None:
    shuffled = {"entity2id.txt": "4\nosl\t3\nfi\t2\nno 0 \nse   1\n", "test2id.txt": "1\r\n2\t1\t0\r\n"}
    mmkg = built(write_openke(shuffled))
    assert mmkg.graph.entities.keys == ("no", "se", "fi", "osl")
    assert mmkg.graph.test.tolist() == [[2, 0, 1]]


RELATION_SECOND = {
    "train2id.txt": "4\n0 0 1\n1 0 2\n0 1 3\n2 0 0\n",
    "valid2id.txt": "1\n1 0 0\n",
    "test2id.txt": "1\n2 0 1\n",
}


@pytest.mark.parametrize(("card", "config"), [("columns: hrt", {}), ("columns: htr", {"columns": "hrt"})])
def test_the_relation_may_be_second_if_said_so(
    write_openke: Write, built: Build, card: str, config: dict[str, str]
) -> None:
    expected = built(write_openke()).graph.train.tolist()
    mmkg = built(write_openke(RELATION_SECOND | {"dataset.yaml": card}), **config)
    assert mmkg.graph.train.tolist() == expected


def test_an_order_that_ids_leave_open_is_taken_as_said(write_openke: Write, built: Build) -> None:
    small = {"train2id.txt": "2\n0 1 0\n2 1 1\n", "valid2id.txt": "1\n3 0 0\n", "test2id.txt": "1\n1 1 0\n"}
    assert built(write_openke(small), columns="htr").graph.train.tolist() == [[0, 0, 1], [2, 1, 1]]
    assert built(write_openke(small), columns="hrt").graph.train.tolist() == [[0, 1, 0], [2, 1, 1]]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("<http://dbpedia.org/resource/Dune_(film)>", "Dune (film)"),
        ("http://www.w3.org/2000/01/rdf-schema#seeAlso", "seeAlso"),
        ("http://dbpedia.org/resource/S%C3%A3o_Paulo", "São Paulo"),
        ("Q64", "Q64"),
        ("http://example.org/", "http://example.org/"),
        ("<>", "<>"),
        ("#_", "#_"),
        ("AC/DC", "AC/DC"),
        ("F#m7", "F#m7"),
        ("n/a", "n/a"),
        ("50% off", "50% off"),
        ("100%25_cotton", "100%25 cotton"),
        ("/m/02mjmr", "/m/02mjmr"),
        ("/m/0h7_sc", "/m/0h7_sc"),
        ("/film/film/release_date", "/film/film/release date"),
        ("<Barack_Obama>", "Barack Obama"),
        ("<http://dbpedia.org/resource/AC/DC>", "AC/DC"),
        ("http://rdf.freebase.com/ns/m.02mjmr", "m.02mjmr"),
    ],
)
def test_names_are_made_from_keys(key: str, name: str) -> None:
    assert readable(key) == name
