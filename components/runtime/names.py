"""Types of names, places and seeds that all backends accept; invalid ones are rejected when the recipe is read.

A name becomes an MLflow experiment and a registered model (no ``/`` and ``:``), a Kubeflow pipeline (128 characters,
made of a to z, 0 to 9 and -), a TorchServe model (part of URLs), files and folders (255 bytes, with what is added).
"""

import os
import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

from mmkgc.components.runtime import digests
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.settings import SCHEME

LONGEST = 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SEEDS = 2**32
REGISTERED = "models:/"
"""Beginning of the address of a registered model: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``."""


def _name(value: str) -> str:
    if len(value) > LONGEST:
        raise ValueError(f"a name has {LONGEST} characters at most, this one {len(value)}")
    if not NAME.fullmatch(value):
        raise ValueError("a name is made of a-z, A-Z, 0-9, '.', '_' and '-', and begins with a letter or a digit")
    return value


def _alias(value: str) -> str:
    if len(value) > LONGEST or not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ValueError(f"an alias is made of a-z, 0-9 and '_', begins with a letter, and has at most {LONGEST}")
    if value == "latest" or re.fullmatch(r"v\d+", value):
        raise ValueError(f"'{value}' has a meaning of its own in MLflow; choose another alias")
    return value


def _place(value: str) -> str:
    if "\0" in value:
        raise ValueError("no path and no URI has a NUL character")
    return value if SCHEME in value else os.path.expanduser(value)


Name = Annotated[str, AfterValidator(_name)]
Alias = Annotated[str, AfterValidator(_alias)]
Place = Annotated[str, AfterValidator(_place)]
"""A path (``~`` is expanded), a name, or a URI."""
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
"""NumPy requires seeds ≥ 0, scikit-learn seeds < 2³²."""


def check_name(value: str, where: str) -> None:
    """Raise UserError for a name that is not allowed in a recipe."""
    try:
        _name(value)
    except ValueError as error:
        raise UserError(where, str(error)) from error


def name_of(text: str) -> str:
    """A valid name made from any ``text``: ``My Graph`` → ``my-graph``; a digest is added where characters are lost."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9._]+", "-", plain).strip("._-")
    lost = sum(character.isalnum() for character in unicodedata.normalize("NFKD", text) if not character.isascii())
    if words and not lost and len(words) <= LONGEST:
        return words
    digest = digests.of_bytes(text.encode("utf-8", "surrogateescape"))[:8]
    return f"{words[: LONGEST - 9].rstrip('._-') or 'graph'}-{digest}"
