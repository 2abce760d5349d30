"""Errors that a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input, told in one sentence: where, what, and how to mend it.

    The command line prints the message alone and exits with code 2; anything else is a bug and shows its traceback.
    """

    def __init__(self, where: object, what: str, mend: str = "") -> None:
        super().__init__(f"{where}: {what}" + (f" — {mend}" if mend else ""))


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Advice for an unknown ``name``: the nearest allowed name, else all of them (at most twenty)."""
    names = sorted(allowed)
    near = get_close_matches(name, names, n=1) or get_close_matches(name.lower(), names, n=1)
    return f"did you mean '{near[0]}'?" if near else "choose one of: " + ", ".join(names[:20])
