"""What is wrong with a request, in the words of the API instead of the validator's."""

from collections.abc import Iterable, Sequence
from typing import Any

from mmkgc.components.runtime.errors import did_you_mean, shown

MOST = 3
"""Errors of one request that are told."""
WORDS = {
    "missing": "is missing",
    "string_type": "must be a text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "greater_than": "must be more than {gt:,}",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than": "must be less than {lt:,}",
    "less_than_equal": "must be at most {le:,}",
    "too_short": "must hold at least {min_length:,}",
    "too_long": "must hold at most {max_length:,}",
    "json_invalid": "is not valid JSON ({error})",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}
"""By the type of pydantic's error; its own words for any other."""


def sentence(errors: Sequence[Any], fields: Iterable[str]) -> str:
    """What is wrong, and where, without the value itself.

    ``errors``: of pydantic or FastAPI. ``fields``: the names that an unknown one may have meant.
    """
    return "; ".join(_one(error, fields) for error in errors[:MOST])


def _one(error: Any, fields: Iterable[str]) -> str:
    *above, last = [str(part) for part in error["loc"]] or [""]
    unknown = error["type"] == "extra_forbidden"  # then the last part is what the client wrote
    if error["type"] == "json_invalid":  # the last part is a number of characters
        above, last = above[:-1], f"{'.'.join(above)} after {last} characters"
    parts = [part for part in above if not part.startswith("<")]  # the kind of value, not a field
    parts += [last] if unknown or not last.startswith("<") else []
    if unknown:
        what = f"there is no such field — {did_you_mean(last, fields)}"
    else:
        words = WORDS.get(error["type"], "")
        what = words.format(**error.get("ctx", {})) or str(error["msg"]).removeprefix("Value error, ")
    where = shown(".".join(parts))
    return f"{where}: {what}" if where else what
