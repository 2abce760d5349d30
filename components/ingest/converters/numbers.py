"""Columns of numbers and dates as people write them: units, currencies, separated thousands, days and months."""

import re
from collections import Counter
from collections.abc import Sequence

from mmkgc.components.dataset.modalities import numeric

ENOUGH = 0.95  # share of a column's filled cells that are numbers, at least
AFFIXED = re.compile(
    r"(?P<before>[^\w+\-.'\"]{0,3}?)\s*"
    r"(?P<number>[+-]?\.?\d[\d.,'\u00a0\u202f ]*(?:[eE][+-]?\d+)?)\s*(?P<after>\D{0,12})"
)
THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?P<by>[,'\u00a0\u202f ])\d{3})(?:(?P=by)\d{3})*(?:\.\d+)?")
DAY_MONTH = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})")
TRUE, FALSE = {"yes", "true", "y", "t"}, {"no", "false", "n", "f"}


def numbers(cells: Sequence[str]) -> tuple[list[str], str] | None:
    """The cells as ``literals.tsv`` takes them, and their unit; "" for a cell that holds none.

    None if the column holds other things than numbers and dates.
    """
    filled = [cell.strip() for cell in cells if cell.strip()]
    if not filled:
        return None
    for read in (_plainly, _truth, _dates, _with_unit):
        values, unit = read(filled)
        if sum(map(bool, values)) >= ENOUGH * len(filled):
            found = iter(values)
            return [next(found) if cell.strip() else "" for cell in cells], unit
    return None


def is_number(cell: str) -> bool:
    """Whether a cell is a plain number or an ISO date."""
    return bool(_number(cell.strip()))


def _plainly(cells: Sequence[str]) -> tuple[list[str], str]:
    return list(map(_number, cells)), ""


def _number(cell: str) -> str:
    if THOUSANDS.fullmatch(cell):
        cell = re.sub(r"[,'\u00a0\u202f ]", "", cell)
    return cell if numeric.is_number(cell) else ""


def _truth(cells: Sequence[str]) -> tuple[list[str], str]:
    return ["1" if cell.lower() in TRUE else "0" if cell.lower() in FALSE else "" for cell in cells], ""


def _dates(cells: Sequence[str]) -> tuple[list[str], str]:
    """Days and months in the order that the column shows: a number above 12 is a day; points put the day first."""
    found = [DAY_MONTH.fullmatch(cell) for cell in cells]
    days_first = any(match and int(match[1]) > 12 for match in found)
    months_first = any(match and int(match[3]) > 12 for match in found)
    points = any(match and match[2] == "." for match in found)
    if days_first and months_first:
        return [], ""
    day, month = (1, 3) if days_first or (points and not months_first) else (3, 1)
    return [_number(f"{m[4]}-{int(m[month]):02}-{int(m[day]):02}") if m else "" for m in found], ""


def _with_unit(cells: Sequence[str]) -> tuple[list[str], str]:
    """Numbers that all have one unit, before or after: ``142 min``, ``$ 5,000``."""
    found = [AFFIXED.fullmatch(cell) for cell in cells]
    units = Counter((match["before"].strip(), match["after"].strip()) for match in found if match)
    if not units:
        return [], ""
    unit = units.most_common(1)[0][0]
    fitting = [
        match if match and (match["before"].strip(), match["after"].strip()) == unit else None for match in found
    ]
    return [_number(match["number"].strip()) if match else "" for match in fitting], "".join(unit)
