"""What accepted facts become in other systems, also if keys and notes are hostile."""

import csv
import io
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkgc.serving.review.decisions import Decisions, Status
from mmkgc.serving.review.formats import FORMATS
from mmkgc.serving.review.formats.cypher import name_of, string
from mmkgc.serving.review.formats.fact import Fact, accepted

HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.text("'`\"\\u0065}\n\r\t;<>/ {a", max_size=16),
    st.sampled_from(["'}) DETACH DELETE h //", "\\u0027", "\\\\u0060", "` |", '"> <b', "http://x/a b", "http://x/é#1"]),
)
FEW = settings(deadline=None, max_examples=40)
KEY = HOSTILE.filter(bool)
FACTS = st.builds(
    Fact,
    KEY,
    KEY,
    KEY,
    st.none() | KEY,
    st.none() | KEY,
    st.none() | KEY,
    st.none() | st.floats(0, 1),
    st.none() | KEY,
    st.none() | KEY,
    st.just("2026-01-02T03:04:05Z"),
)


def unescaped(text: str) -> str:
    r"""The content of a string literal after its escapes, read once from left to right."""
    plain = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", "'": "'"}
    pattern = r"\\u([0-9A-Fa-f]{4})|\\(.)"
    return re.sub(pattern, lambda found: chr(int(found[1], 16)) if found[1] else plain[found[2]], text, flags=re.DOTALL)


def replaced_first(text: str) -> str:
    r"""A query as Neo4j 4 reads it: ``\uXXXX`` is replaced before anything else."""
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), text)


@FEW
@given(HOSTILE)
def test_a_cypher_string_ends_where_it_should_and_means_the_text(text):
    written = string(text)
    for read in (written, replaced_first(written)):
        body = re.fullmatch(r"'((?:[^'\\]|\\.)*)'", read, flags=re.DOTALL)
        assert body
        assert unescaped(body[1]) == text
    assert "\n" not in written


@FEW
@given(KEY)
def test_a_cypher_name_ends_where_it_should_and_means_the_text(text):
    written = name_of(text)
    read = replaced_first(written)
    body = re.fullmatch(r"`((?:[^`]|``)*)`", read, flags=re.DOTALL)
    assert body
    assert body[1].replace("``", "`") == text
    assert re.fullmatch(r"`((?:[^`]|``)*)`", written, flags=re.DOTALL)


@FEW
@given(st.lists(FACTS, max_size=3))
def test_each_fact_is_one_statement_of_cypher(facts):
    lines = "".join(FORMATS["cypher"].write(facts)).split("\n")
    assert len(lines) == len(facts) + 2  # the constraint, and nothing after the last line end
    for line, fact in zip(lines[1:], facts, strict=False):
        outside = re.sub(r"'(?:[^'\\]|\\.)*'|`(?:[^`]|``)*`", lambda found: 2 * found[0][0], line)
        assert outside.startswith("MERGE (h:Entity {key: ''}) MERGE (t:Entity {key: ''}) MERGE (h)-[r:``]->(t) SET ")
        assert outside.count(";") == 1
        assert ("r.probability" in outside) == (fact.probability is not None)


@FEW
@given(st.lists(FACTS, max_size=3))
def test_csv_is_read_back(facts):
    text = "".join(FORMATS["csv"].write(facts))
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    for row, fact in zip(rows, facts, strict=True):
        assert row == {name: "" if value is None else str(value) for name, value in vars(fact).items()}


@FEW
@given(st.lists(FACTS, min_size=1, max_size=3, unique_by=lambda fact: (fact.head, fact.relation, fact.tail)))
def test_rdf_is_read_back_by_another_parser(facts):
    pyoxigraph = pytest.importorskip("pyoxigraph")
    text = "".join(FORMATS["nquads"].write(facts))
    quads = list(pyoxigraph.parse(text.encode(), format=pyoxigraph.RdfFormat.N_QUADS))
    rdf = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
    subjects = [quad for quad in quads if quad.predicate.value == f"{rdf}subject"]
    assert len(subjects) == len(facts)
    stated = {(quad.subject.value, quad.predicate.value, quad.graph_name.value) for quad in quads}
    for quad, fact in zip(subjects, facts, strict=True):
        graph = quad.graph_name.value
        assert any(one == quad.object.value and where == graph for one, _, where in stated)
        notes = [q.object.value for q in quads if q.subject == quad.subject and q.predicate.value.endswith("#comment")]
        assert notes == ([] if fact.note is None else [fact.note])


def test_a_key_that_is_an_iri_stays_one():
    fact = Fact("<http://dbpedia.org/resource/Oslo>", "https://schema.org/in", "Norway (country)", "m", "3", at="2026")
    first = next(FORMATS["nquads"].write([fact])).split("\n")[0]
    assert first == (
        "<http://dbpedia.org/resource/Oslo> <https://schema.org/in> <urn:mmkgc:entity:Norway%20%28country%29> "
        "<urn:mmkgc:model:m:3> ."
    )


def test_only_what_is_accepted_is_written_with_who_and_when(tmp_path):
    log = Decisions(tmp_path / "decisions.jsonl")
    about = {"model": "m", "version": "3", "probability": 0.25, "reviewer": 0, "at": "2026-01-02T03:04:05Z"}
    log.append(("b", "r", "c"), Status.ACCEPTED, about)
    log.append(("a", "r", "c"), Status.ACCEPTED, about | {"by": "Ann", "note": "seen on a map"})
    log.append(("d", "r", "c"), Status.REJECTED, about)
    first, second = accepted(log)
    assert (first.head, first.reviewer, first.note, first.probability) == ("a", "Ann", "seen on a map", 0.25)
    assert (second.head, second.reviewer, second.note) == ("b", "API key 0", None)
