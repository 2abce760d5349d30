"""Errors that a user can correct, and the display of user input in messages."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

LONGEST_VALUE, LONGEST_PART = 120, 1000
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that a terminal interprets instead of showing: control characters, line separators and changes of the
writing direction; also surrogates, which cannot be encoded.
"""
BLANK = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f\u3000]")
INVISIBLE = re.compile(r"[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]")
"""Blanks other than the space, and characters without a width."""


class UserError(Exception):
    """Invalid input, described in one sentence: where, what, and how to correct it.

    The command line prints only the message and exits with code 2 (``runtime.failures`` handles other errors). The
    message is one line without control characters; long inputs are shortened.
    """

    def __init__(self, where: object, what: str, mend: str = "") -> None:
        where, what, mend = (shown(part, LONGEST_PART) for part in (where, what, mend))
        super().__init__(f"{where}: {what}" + (f" — {mend}" if mend else ""))
        self.parts = where, what, mend

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Pickled by its parts, so that a worker process can pass it on."""
        return type(self), self.parts


class StepFailed(Exception):
    """A step failed with an unexpected error; the message has its traceback and the path of the log."""

    def __init__(self, step: str, traceback: str, log: Path) -> None:
        super().__init__(f"step '{step}' failed\n\n{traceback}\n\nthe whole log: {log}")


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


def looks_like(key: str, keys: Iterable[str]) -> str:
    """Advice if one of ``keys`` looks like ``key``, but has other code points: composed or decomposed ones, other
    blanks, or characters that cannot be seen. Empty if there is none.
    """
    look = _look(key)
    alike = next((other for other in keys if _look(other) == look), None)
    if alike is None:
        return ""
    if odd := {*BLANK.findall(key + alike), *INVISIBLE.findall(key + alike)}:
        unseen = ", ".join(sorted(f"U+{ord(character):04X}" for character in odd))
        return f"'{shown(alike)}' is there and looks the same; they differ in {unseen}, which cannot be seen: remove it"
    return f"'{shown(alike)}' is there in another Unicode form: write both in one form, such as NFC"


def _look(text: str) -> str:
    return unicodedata.normalize("NFC", INVISIBLE.sub("", BLANK.sub(" ", text))).strip()
