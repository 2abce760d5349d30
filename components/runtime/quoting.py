"""Quoting of user text for other syntaxes, with one function per syntax.

HTML is quoted by ``html.escape``, figures to matplotlib's ``text.parse_math`` (see ``components.evaluate.figures``).
"""

import json
import re
import shlex
from collections.abc import Mapping
from ipaddress import AddressValueError, IPv6Address
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mmkgc.components.runtime.errors import UserError, printable

PASSWORD = re.compile(r"(?<=://)([^\s/@:]*):\S*@")
"""User and password of a URL, up to the last @: unencoded passwords may contain @, / and quotes."""
PASSWORD_PARAMETER = re.compile(r"(?i)([?&](?:password|passwd|pwd|token)=)[^&\s]+")
MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~!$])")


def masked(text: object) -> str:
    """Text with the passwords of the URLs in it replaced by ``***``."""
    return PASSWORD_PARAMETER.sub(r"\1***", PASSWORD.sub(r"\1:***@", str(text)))


def shell(*words: str | Path) -> str:
    """Words as one line that a POSIX shell splits into the same words."""
    return shlex.join(map(str, words))


def json_line(value: Any) -> str:
    """A value as JSON in one line."""
    return json.dumps(value, ensure_ascii=False)


def markdown(text: str) -> str:
    """Plain text for a Markdown document: markup is escaped, and the text stays on one line."""
    return MARKDOWN.sub(r"\\\1", printable(text))


def java_properties(values: Mapping[str, Any]) -> str:
    """Lines ``key=value`` as ``java.util.Properties`` reads them: ASCII, the rest as ``\\uXXXX``; keys are plain."""
    return "".join(f"{key}={_java(str(value))}\n" for key, value in values.items())


def _java(value: str) -> str:
    def character(found: re.Match[str]) -> str:
        units = found[0].encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[place : place + 2].hex()}" for place in range(0, len(units), 2))

    escaped = re.sub(r"[^\x20-\x7e]", character, value.replace("\\", "\\\\"))
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def mlflow_literal(value: str) -> str:
    """A string literal of an MLflow filter, whose syntax has two kinds of quotes and no escapes.

    Raises UserError for a value that cannot be quoted.
    """
    mark = '"' if "'" in value else "'"
    if mark in value or value.endswith("\\"):
        what = "MLflow cannot search for a text with both kinds of quotes, or a backslash at its end"
        raise UserError(printable(value), what, "choose another name")
    return f"{mark}{value}{mark}"


def sqlite_url(path: Path) -> str:
    """SQLAlchemy's URL of an SQLite file.

    A path that needs percent-encoding gets the equivalent scheme ``sqlite+pysqlite``: for ``sqlite://`` MLflow would
    create the folder of the encoded path.
    """
    encoded = quote(str(path), safe="/ ")
    return f"sqlite+pysqlite:///{encoded}" if encoded != str(path) else f"sqlite:///{encoded}"


def sqlite_file(url: str) -> Path | None:
    """The file of SQLAlchemy's URL of an SQLite database; None for another database, and for one in memory."""
    scheme, separator, rest = url.partition(":///")
    path = unquote(rest.partition("?")[0])
    if not separator or scheme.partition("+")[0] != "sqlite" or path in ("", ":memory:"):
        return None
    return Path(path)


def is_http_url(text: str) -> bool:
    """Whether ``text`` is the URL of a server, ``http(s)://HOST[:PORT]…``."""
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port that is not a number
        return False


def http_url(host: str, port: int) -> str:
    """The URL of a server that listens on ``host``, as seen from this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    try:
        return f"http://[{IPv6Address(reached)}]:{port}".replace("%", "%25")  # of a zone: fe80::1%eth0
    except AddressValueError:
        return f"http://{reached}:{port}"
