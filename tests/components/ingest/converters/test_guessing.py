"""Roles of columns, separators, numbers, and the order of triples."""

import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.components.dataset.modalities.numeric import parse
from mmkgc.components.ingest.converters.cells import delimited, sheets, suffix_of
from mmkgc.components.ingest.converters.guessing import Column, guess, labels
from mmkgc.components.ingest.converters.numbers import numbers
from mmkgc.components.ingest.converters.words import plain, role_of, singular


def roles(table, wished=None):
    columns = [Column(header, list(cells)) for header, cells in table.items()]
    guess(columns, wished or {}, labels("films", columns))
    return {column.header: column.role for column in columns}


TEXT = "A long tale of two people who meet on a train and part again, in the winter of the year {}."


def test_names_texts_pictures_numbers_and_relations_are_found_by_what_they_hold():
    count = range(20)
    found = roles(
        {
            "Titel": [f"Film {'abcdefghijklmnopqrst'[i]}" for i in count],
            "what": [TEXT.format(i) for i in count],
            "poster": [f"p/{i}.JPG" for i in count],
            "made by": [f"Director {i % 3}" for i in count],
            "genres": [f"{'Drama' if i % 2 else 'War'}; {'Crime' if i % 3 else 'Family'}" for i in count],
            "length": [f"{90 + i} min" for i in count],
            "out": [f"{1 + i}.03.1999" for i in count],
            "sequel": [f"film {'bcdefghijklmnopqrst'[i]}" if i < 5 else "" for i in count],
            "isbn": [f"x-{i}-y" for i in count],
            "country": ["Norway"] * 20,
            "note": [""] * 20,
        }
    )
    assert found == {
        "Titel": "name",
        "what": "description",
        "poster": "image",
        "made by": "relation",
        "genres": "relation",
        "length": "number",
        "out": "number",
        "sequel": "relation",
        "isbn": "ignore",
        "country": "ignore",
        "note": "ignore",
    }


def test_what_the_user_says_comes_first():
    table = {"a": ["x", "y", "z"], "b": ["1", "2", "1"]}
    assert roles(table, {"b": "relation:made in"}) == {"a": "name", "b": "relation"}
    assert roles(table, {"a": "ignore", "b": "name"}) == {"a": "ignore", "b": "name"}


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        (["Drama|War", "War", "Drama|Crime"], [["Drama", "War"], ["War"], ["Drama", "Crime"]]),
        (["Ann, Bo", "Bo, Cy", "Cy, Ann"], [["Ann", "Bo"], ["Bo", "Cy"], ["Cy", "Ann"]]),
        (["Paris, France", "Paris, France", "Rome, Italy"], [["Paris, France"], ["Paris, France"], ["Rome, Italy"]]),
        (["['Drama', 'War']", "['War']", "[]"], [["Drama", "War"], ["War"], []]),
        (['[{"id": 1, "name": "Drama"}]', '[{"id": 2, "name": "War"}]'], [["Drama"], ["War"]]),
    ],
)
def test_cells_are_parted_where_parts_repeat_more_than_the_cells(cells, parts):
    column = Column("x", cells)
    column.split()
    assert column.parts == parts


@pytest.mark.parametrize(
    ("cells", "values", "unit"),
    [
        (["1", "-2.5", "1e3"], ["1", "-2.5", "1e3"], ""),
        (["1,000", "12,345,678", ""], ["1000", "12345678", ""], ""),
        (["99 min", "142 min"], ["99", "142"], "min"),
        (["$ 5", "$ 1,200"], ["5", "1200"], "$"),
        (["yes", "No"], ["1", "0"], ""),
        (["1999-12-31"], ["1999-12-31"], ""),
        (["31/12/1999", "01/02/2000"], ["1999-12-31", "2000-02-01"], ""),
        (["12/31/1999", "01/02/2000"], ["1999-12-31", "2000-01-02"], ""),
        (["1.2.2000"], ["2000-02-01"], ""),
    ],
)
def test_numbers_and_dates_are_read_as_people_write_them(cells, values, unit):
    assert numbers(cells) == (values, unit)


@pytest.mark.parametrize("cells", [["Film 1", "Film 2"], ["a"], [""], ["31/12/1999", "12/31/1999"], ["nan"]])
def test_other_cells_are_no_numbers(cells):
    assert numbers(cells) is None


@settings(deadline=None)
@given(st.lists(st.text(max_size=12), max_size=8))
def test_what_is_read_as_numbers_is_accepted_by_the_dataset(cells):
    values, _ = numbers(cells) or ([], "")
    for value in filter(None, values):
        parse(value)  # raises ValueError for what the dataset refuses


@settings(deadline=None)
@given(st.text())
def test_names_of_columns_never_break_the_guess(header):
    assert role_of(header) is None or plain(header)
    assert isinstance(singular(header), str)


@pytest.mark.parametrize(
    ("many", "one"), [("films", "film"), ("cities", "city"), ("boxes", "box"), ("series", "series"), ("bus", "bus")]
)
def test_singular(many, one):
    assert singular(many) == one


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        (b"a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        (b"\xef\xbb\xbfa;b\r\n1,5;2\r\n", [["a", "b"], ["1,5", "2"]]),
        (b'a\tb\n"x\ty\n', [["a", "b"], ['"x', "y"]]),
        (b'a,b\n"x,\ny",2\n', [["a", "b"], ["x,\ny", "2"]]),
        ("a,b\né,2\n".encode("cp1252"), [["a", "b"], ["é", "2"]]),
        ("a,b\né,2\n".encode("utf-16"), [["a", "b"], ["é", "2"]]),
        (b"a p b\nb p c\n", [["a", "p", "b"], ["b", "p", "c"]]),
    ],
)
def test_encoding_and_delimiter_are_found(tmp_path, content, rows):
    (tmp_path / "t.csv").write_bytes(content)
    assert [row.cells for row in delimited(tmp_path / "t.csv")] == rows


def write_workbook(path):
    """The smallest workbook with one sheet: a header, a text and a number."""
    main, office = "http://schemas.openxmlformats.org/spreadsheetml/2006/main", "http://schemas.openxmlformats.org"
    relations = f"{office}/officeDocument/2006/relationships"
    link = f'<Relationships xmlns="{office}/package/2006/relationships"><Relationship Id="r1" Type="{relations}'
    text = '<c r="{}" t="inlineStr"><is><t>{}</t></is></c>'.format
    rows = (
        f'<row r="1">{text("A1", "a")}{text("B1", "b")}</row><row r="2">{text("A2", "x")}<c r="B2"><v>2</v></c></row>'
    )
    sheet = '<sheets><sheet name="films" sheetId="1" r:id="r1"/></sheets>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types"/>',
        "_rels/.rels": f'{link}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/_rels/workbook.xml.rels": f'{link}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}">{sheet}</workbook>',
        "xl/worksheets/sheet1.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in files.items():
            zipped.writestr(name, f'<?xml version="1.0"?>{content}')


def test_packed_files_parquet_and_workbooks_hold_the_same_rows(tmp_path):
    import gzip

    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\nx,2\n"))
    pq.write_table(pa.table({"a": ["x"], "b": [2.0]}), tmp_path / "t.parquet")
    write_workbook(tmp_path / "t.xlsx")
    for name in ("t.csv.gz", "t.parquet", "t.xlsx"):
        (sheet,) = sheets(tmp_path / name)
        assert [row.cells for row in sheet.rows] == [["a", "b"], ["x", "2"]]
    assert suffix_of(tmp_path / "t.CSV.gz") == ".csv"
