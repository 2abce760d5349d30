"""Numbers and dates."""

import json
import math
import os
import re
import sys
from calendar import isleap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from mmkgc.components.dataset.modalities.base import Contents, Items, Modality, Same
from mmkgc.components.runtime.errors import UserError, shown

if TYPE_CHECKING:
    import pyarrow as pa

    from mmkgc.components.dataset.lines import Lines

HEADER = ["key", "attribute", "value"]
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
TIME = r"[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?"
DATE = re.compile(rf"([+-]?\d{{4,6}})-(\d\d)(?:-(\d\d)(?:{TIME})?)?", re.ASCII)
MEND = "write a number such as 5400000 or 1.5e6, or a date such as 1999-12-31"
DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
BEFORE = [0, *accumulate(DAYS)]  # days of a common year before each month
MOST = 1000  # attributes in a query


def parse(text: str) -> float:
    """The number in ``text``; an ISO date is a decimal year, 2004-07-02 = 2004.5, ignoring the time of day.

    Raises ValueError for anything else, and for values that are not finite.
    """
    text = text.strip()
    if NUMBER.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    if found := DATE.fullmatch(text):
        return _decimal_year(int(found[1]), int(found[2]), int(found[3] or 1))
    raise ValueError(f"'{text[:60]}' is no number and no date")


def is_number(text: str) -> bool:
    """Whether ``parse`` takes it."""
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _decimal_year(year: int, month: int, day: int) -> float:
    leap = isleap(year)
    if not 1 <= month <= 12 or not 1 <= day <= DAYS[month - 1] + (leap and month == 2):
        raise ValueError(f"there is no day {day} in month {month} of {year}")
    past = BEFORE[month - 1] + (leap and month > 2) + day - 1
    return year + past / (365 + leap)


def _number(value: Any) -> float:
    if isinstance(value, str):
        return parse(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max:
        return float(value)
    raise ValueError("give a finite number, or a date as text such as 1999-12-31")


class Numeric(Modality):
    """Numbers and dates by attribute; units are not converted."""

    noun = "number"
    lacking = "no number"
    file = "literals.tsv"
    stored = "numbers"
    encoder = "literals"
    default = False  # few graphs have numbers, and every modality has a cost
    field = "numbers"
    annotation = Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=500)],
            Annotated[float, BeforeValidator(_number, json_schema_input_type=float | str)],
        ],
        Field(min_length=1, max_length=MOST),
    ]
    widget = "pairs"
    option = "--number"
    metavar = "NAME=VALUE"
    help = "A number or date of the entity that is written @; may be given several times."

    @property
    def arrow(self) -> "pa.DataType":
        """Pairs of attribute and value."""
        import pyarrow as pa

        return pa.map_(pa.string(), pa.float64())

    def read(self, folder: Path, columns: Mapping[str, Sequence[str]]) -> Contents:
        """Pairs (attribute, value) of each entity, in alphabetical order; none without ``literals.tsv``."""
        path, keys = folder / str(self.file), columns["key"]
        if not os.path.lexists(path):  # a link that leads nowhere is an error
            return Same(self.nothing, len(keys))
        found: list[list[tuple[str, float]]] = [[] for _ in keys]
        rows = {key: row for row, key in enumerate(keys)}
        for key, attribute, value in _rows(path, rows):
            found[rows[key]].append((attribute, value))
        return tuple(tuple(sorted(pairs)) for pairs in found)

    def items(self, name: str, content: Items) -> Items:
        """All pairs as one item."""
        return (content,) if content else ()

    def from_query(self, value: Mapping[str, float], options: Mapping[str, Any]) -> Contents:
        """The pairs."""
        return tuple(sorted(value.items()))

    def names(self, encoder: Mapping[str, Any]) -> list[str]:
        """The attributes that the encoder was fitted to."""
        fitted = encoder.get("options", {}).get("fitted", {})
        return sorted([*fitted.get("attributes", {}), *fitted.get("rare", ())])

    def from_cell(self, value: Any) -> Any:
        """Parsed JSON text; other text is returned unchanged and rejected as a query's field."""
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            return value

    def from_option(self, values: Sequence[str]) -> dict[str, float]:
        """Pairs written ``name=value``."""
        found = {}
        for pair in values:
            name, equals, value = pair.rpartition("=")
            try:
                found[name.strip()] = parse(value)
            except ValueError as error:
                raise UserError(f"{self.option} {pair}", str(error), MEND) from error
            if not equals or not name.strip():
                raise UserError(f"{self.option} {pair}", "the attribute's name is missing", "write name=value")
        return found


def _rows(path: Path, rows: Mapping[str, int]) -> list[tuple[str, str, float]]:
    """Key, attribute and value of each line. Raises UserError, with file and line, for malformed lines."""
    from mmkgc.components.dataset.lines import Lines

    lines = Lines.read(path, "its columns are key, attribute and value")
    first = lines.text[0].as_py() if len(lines) else ""
    if [name.strip().lower() for name in first.split("\t")] != HEADER:
        what = f"the header 'key attribute value' is missing; found '{shown(first)}'"
        raise UserError(lines.at(0), what, "make it the first line, separated by tabs")
    lines = lines.after(1)
    keys, attributes, texts = (column.to_pylist() for column in lines.fields(HEADER))
    _refuse_unknown(lines, keys, rows)
    attributes = [attribute.strip() for attribute in attributes]
    lines.refuse_if(np.array([not name for name in attributes]), lambda row: "the attribute is empty", "name it")
    return list(zip(keys, attributes, _values(lines, texts), strict=True))


def _refuse_unknown(lines: "Lines", keys: Sequence[str], rows: Mapping[str, int]) -> None:
    from rapidfuzz import process

    def mend(row: int) -> str:
        near = process.extractOne(keys[row], list(rows), processor=str.casefold, score_cutoff=75)
        return "remove the line, or add the entity" + (f"; or did you mean '{shown(near[0])}'?" if near else "")

    unknown = np.array([key not in rows for key in keys])
    lines.refuse_if(unknown, lambda row: f"there is no entity '{shown(keys[row])}'", mend)


def _values(lines: "Lines", texts: Sequence[str]) -> list[float]:
    values: list[float] = []
    reasons: dict[int, str] = {}
    for row, text in enumerate(texts):
        try:
            values.append(parse(text))
        except ValueError as error:
            values.append(math.nan)
            reasons[row] = str(error)
    lines.refuse_if(np.isnan(values), lambda row: reasons[row], MEND)
    return values
