"""Accepted facts as CSV (RFC 4180): a header, then one fact a line."""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import astuple, fields

from mmkgc.serving.review.formats.fact import Fact


def write(facts: Iterable[Fact]) -> Iterator[str]:
    """The lines; what is not known is empty."""
    yield _line([field.name for field in fields(Fact)])
    for fact in facts:
        yield _line(["" if value is None else value for value in astuple(fact)])


def _line(values: list[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(values)
    return text.getvalue()
