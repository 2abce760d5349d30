"""Errors that a user can correct, and the display of user input in messages."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_VALUE, LONGEST_PART = 120, 1000
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal interprets instead of showing: control characters, line separators and changes of the
writing direction; also surrogates, which cannot be encoded.
"""


class UserError(Exception):
    """Invalid input, described in one sentence: where, what, and how to correct it.

    The command line prints only the message and exits with code 2 (``pipeline.cli.failures`` handles other errors). The
    message is one line without control characters; long inputs are shortened.
    """

    def __init__(self, where: object, what: str, mend: str = "") -> None:
        where, what, mend = (shown(part, LONGEST_PART) for part in (where, what, mend))
        super().__init__(f"{where}: {what}" + (f" — {mend}" if mend else ""))


class Unusable(ValueError):
    """An entity's image, text or other content that cannot be decoded or encoded; the message gives the reason."""


def printable(text: str) -> str:
    """``text`` with escapes such as ``\\x1b`` for characters that a terminal or a log would interpret."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def shown(value: object, longest: int = LONGEST_VALUE) -> str:
    """A value in a message: printable, and shortened in the middle to ``longest`` characters."""
    text = str(value)
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    return printable(text)


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Advice for an unknown ``name``: the nearest allowed name, else all of them (at most twenty)."""
    names = sorted(allowed)
    near = get_close_matches(name, names, n=1) or get_close_matches(name.lower(), names, n=1)
    return f"did you mean '{near[0]}'?" if near else "choose one of: " + ", ".join(names[:20])


def same_but_for_form(key: str, keys: Iterable[str]) -> str | None:
    """The one of ``keys`` with the same NFC form as ``key`` (composed or decomposed code points)."""
    form = unicodedata.normalize("NFC", key)
    return next((other for other in keys if unicodedata.normalize("NFC", other) == form), None)
