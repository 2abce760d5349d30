"""literals.tsv: what is read from it, and where it is refused."""

import math
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkgc.components.dataset.modalities.numeric import Numeric, parse
from mmkgc.components.runtime.errors import UserError

KEYS = {"key": ["no", "se", "oslo"]}
HEADER = "key\tattribute\tvalue\n"


def read(folder: Path, rows: str, header: str = HEADER) -> tuple:
    (folder / "literals.tsv").write_text(header + rows, encoding="utf-8")
    return Numeric().read(folder, KEYS)


def test_numbers_and_dates_of_each_entity_are_read_in_alphabetical_order(tmp_path: Path) -> None:
    rows = "no\tfounded\t1814-05-17\noslo\tarea\t454\nno\tarea\t3.85e5\nno\tarea\t 385207 \n"
    assert read(tmp_path, rows) == (
        (("area", 385000.0), ("area", 385207.0), ("founded", 1814 + 136 / 365)),
        (),
        (("area", 454.0),),
    )


def test_without_the_file_no_entity_has_a_number(tmp_path: Path) -> None:
    assert tuple(Numeric().read(tmp_path, KEYS)) == ((), (), ())


def test_a_file_without_rows_gives_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == ((), (), ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5.0),
        ("-.5", -0.5),
        ("+1.e3", 1000.0),
        ("1900.41666667", 1900.41666667),
        ("2004-07-02", 2004.5),
        ("2003-07", 2003 + 181 / 365),
        ("-0044-03-15", -44 + 74 / 366),
        ("1999-12-31T23:59:59Z", 1999 + 364 / 365),
        ("1999-12-31 23:59:59.5+02:00", 1999 + 364 / 365),
    ],
)
def test_a_value_is_a_number_or_a_date_as_a_decimal_year(text: str, value: float) -> None:
    assert parse(text) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize(
    "text", ["", "many", "5,4", "5 400", "1_000", "nan", "inf", "1e999", "0x10", "1999-13", "1999-02-29", "1999-00-01",
             "1999-1-1", "31.12.1999", "1999-12-31x", "1999-12-31T", "٣"]
)  # fmt: skip
def test_anything_else_is_no_value(text: str) -> None:
    with pytest.raises(ValueError, match=r"no number and no date|there is no day"):
        parse(text)


@given(st.dates(date(1, 1, 1), date(9999, 12, 30)))
def test_dates_keep_their_order_within_and_across_years(day: date) -> None:
    year, next_day = parse(day.isoformat()), parse((day + timedelta(days=1)).isoformat())
    assert day.year <= year < day.year + 1
    assert 1 / 367 < next_day - year < 1 / 364


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_survives_being_written(value: float) -> None:
    assert parse(repr(value)) == value


REFUSED = {
    "no value": ("no\tarea\t385000\nse\tarea\tlarge\n", r"literals\.tsv, line 3: 'large' is no number and no date"),
    "no such day": ("no\tfounded\t1814-02-30\n", r"line 2: there is no day 30 in month 2 of 1814"),
    "an unknown key": ("no\tarea\t1\nosol\tarea\t1\n", r"line 3: there is no entity 'osol'.*did you mean 'oslo'\?"),
    "a missing column": ("no\t385000\n", r"line 2: the line has 2 columns where 3 belong"),
    "no attribute": ("no\t \t385000\n", r"line 2: the attribute is empty"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_malformed_is_refused_where_it_stands(tmp_path: Path, case: str) -> None:
    rows, told = REFUSED[case]
    with pytest.raises(UserError, match=told):
        read(tmp_path, rows)


def test_a_missing_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"line 1: the header 'key attribute value' is missing; found 'no\\tarea\\t1'"):
        read(tmp_path, "no\tarea\t1\n", header="")


def test_options_of_the_command_line_become_the_field_of_a_query() -> None:
    assert Numeric().from_option(["population=5.4e6", "a=b=1814-05-17"]) == {
        "population": 5.4e6,
        "a=b": 1814 + 136 / 365,
    }
    for wrong, told in {"population=many": "'many' is no number", "5": "the attribute's name is missing"}.items():
        with pytest.raises(UserError, match=rf"--number {wrong}: {told}"):
            Numeric().from_option([wrong])


def test_a_cell_of_a_table_holds_json() -> None:
    assert Numeric().from_cell('{"area": 5}') == {"area": 5}
    assert Numeric().from_cell("no json") == "no json"
    assert math.isnan(Numeric().from_cell(math.nan))
