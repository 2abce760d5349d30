"""Hostile text in every foreign syntax: what is read there is what was meant."""

import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.quoting import (
    http_url,
    is_http_url,
    java_properties,
    json_line,
    markdown,
    masked,
    mlflow_literal,
    printable,
    shell,
    sqlite_file,
    sqlite_url,
)

HOSTILE = [
    "o'hara",
    'say "hi"',
    "share_% of $x{$",
    "a 50%41 ?x=y#z",
    "知识图谱",
    "\\",
    "\\u0041",
    "\x1b[31m",
    "é=: !",
    "|x|",
]
texts = st.sampled_from(HOSTILE) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=30
)
hostile = settings(max_examples=150, deadline=None)


@given(texts)
@hostile
def test_shell_words(text):
    assert shlex.split(shell("mmkgc", text)) == ["mmkgc", text]


@given(texts)
@hostile
def test_json(text):
    line = json_line({"head": text})
    assert json.loads(line) == {"head": text}
    assert "\n" not in line


def java_reads(line: str) -> str:
    """The value of a line as ``java.util.Properties.load`` reads it from ISO-8859-1."""
    line.encode("iso-8859-1")
    _, _, rest = line.rstrip("\n").partition("=")
    rest = rest.lstrip(" \t\f")
    units = re.sub(r"\\u([0-9a-f]{4})|\\(.)", lambda m: chr(int(m[1], 16)) if m[1] else m[2], rest)
    return units.encode("utf-16", "surrogatepass").decode("utf-16")


@given(texts)
@hostile
@example(" leading")
@example("🙂")
def test_java_properties(text):
    (line,) = java_properties({"model_store": text}).splitlines(keepends=True)
    assert java_reads(line) == text


@given(texts)
@hostile
def test_mlflow_filters(text):
    from mlflow.utils.search_utils import SearchModelVersionUtils, SearchUtils

    try:
        literal = mlflow_literal(text)
    except UserError:
        assert {"'", '"'} <= set(text) or text.endswith("\\")
        return
    (run,) = SearchUtils.parse_search_filter(f"tags.`mmkgc.step` = {literal}")
    name, digest = SearchModelVersionUtils.parse_search_filter(f"name = {literal} AND tags.x = {literal}")
    assert run["value"] == name["value"] == digest["value"] == text


@given(texts)
@hostile
def test_sqlite_urls(text):
    from sqlalchemy.engine import make_url

    path = Path("/home") / text.replace("/", "-") / "mlflow.db"
    url = sqlite_url(path)
    assert make_url(url).database == str(path)
    assert make_url(url).get_backend_name() == "sqlite"
    assert sqlite_file(url) == path


def test_a_plain_home_keeps_its_plain_url_and_other_databases_have_no_file():
    assert sqlite_url(Path("/home/me/.mmkgc/mlflow.db")) == "sqlite:////home/me/.mmkgc/mlflow.db"
    assert sqlite_file("sqlite:///relative.db?timeout=5") == Path("relative.db")
    assert [sqlite_file(url) for url in ("sqlite://", "sqlite:///:memory:", "postgresql:///x", "x.db")] == [None] * 4


@given(texts)
@hostile
def test_lines_of_logs_and_terminals(text):
    line = printable(text)
    assert line.splitlines() in ([line], [])
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", line)


def test_text_that_is_printable_stays_as_it_is():
    assert [printable(text) for text in ("知识图谱", "o'hara", "a\\b", "\x1b[2J", "\u202egnp.exe")] == [
        *("知识图谱", "o'hara", "a\\b"),
        *("\\x1b[2J", "\\u202egnp.exe"),
    ]


@given(texts)
@hostile
def test_markdown(text):
    unescaped = re.sub(r"\\([\\`*_{}\[\]<>#|~!$])", "", markdown(text))
    assert not re.search(r"[`*_{}\[\]<>#|~!$\n]", unescaped)


@given(texts)
@hostile
def test_html(text):
    from mmkgc.components.evaluate.report import Heading, Table, html

    assume(text.strip() and not re.search(r"[\x00-\x1f\x7f-\x9f]", text))
    reader, found = HTMLParser(), []
    reader.handle_data = found.append
    reader.feed(html(text, [Heading(text), Table([text], [[text]])]))
    assert "".join(found).count(text) >= 5


@given(texts)
@settings(hostile, max_examples=25)
def test_text_in_figures_is_no_formula(text):
    from mmkgc.components.evaluate import figures

    figure = figures.change_bars({text: (0.1, 0.0, 0.2)}, f"{text}: before → after")
    axes = figure.axes[0]
    assert not any(label.get_parse_math() for label in [*axes.get_yticklabels(), *figure.texts])


def test_a_figure_with_dollar_names_is_drawn(tmp_path):
    from mmkgc.components.evaluate import figures

    figure = figures.change_bars({"share_% of $x{$": (0.1, 0.0, 0.2)}, "$\\frac{$")
    assert figures.save(figure, tmp_path / "change.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
        ("::", "http://[::1]:80"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:80"),
        ("graph.example", "http://graph.example:80"),
    ],
)
def test_urls_of_hosts(host, url):
    assert http_url(host, 80) == url
    assert urlsplit(url).port == 80


@pytest.mark.parametrize("url", ["http://host", "https://host:1/path?x#y", "http://[::1]:8080", "http://me:pw@host"])
def test_urls_of_servers(url):
    assert is_http_url(url)


@pytest.mark.parametrize(
    "text",
    ["", "host:80", "ftp://host", "http://", "http:///path", "http://[::1", "http://host:99999", "http://host:x"],
)
def test_what_is_no_url_of_a_server(text):
    assert not is_http_url(text)


@pytest.mark.parametrize("password", ["secret", "s/e", "s@c", "s:c", "s'c", "s%40c", "知"])
@pytest.mark.parametrize("url", ["postgresql+psycopg://me:{}@db:5432/mmkgc", "http://me:{}@host/path"])
def test_passwords_are_masked_wherever_they_stand(url, password):
    whole = url.format(password)
    assert masked(f"cannot open {whole} (refused)") == f"cannot open {url.format('***')} (refused)"


def test_urls_without_a_password_stay():
    for text in ("http://127.0.0.1:5000/#/x", "s3://bucket/a:b@c", "postgresql://me@db/x", "a: b@c"):
        assert masked(text) == text
    assert masked("postgresql://db/x?user=me&password=hunter2") == "postgresql://db/x?user=me&password=***"
