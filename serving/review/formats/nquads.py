"""Accepted facts as RDF 1.1 N-Quads: a named graph for each model, in which every fact is also a reified statement.

A key that is an IRI stays one. Any other key is percent-encoded into ``urn:mmkgc:entity:…`` or
``urn:mmkgc:relation:…``. Provenance is stated with PROV-O about the statement.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from mmkgc.serving.review.formats.fact import Fact
from mmkgc.serving.review.identity import identify

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS_COMMENT = "http://www.w3.org/2000/01/rdf-schema#comment"
PROV = "http://www.w3.org/ns/prov#"
XSD = "http://www.w3.org/2001/XMLSchema#"
OWN = "urn:mmkgc:"
IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\x00-\x20<>\"{}|^`\\\ud800-\udfff]+")
ESCAPED = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}


def write(facts: Iterable[Fact]) -> Iterator[str]:
    """The quads of one fact after another."""
    for fact in facts:
        yield "".join(f"{' '.join(triple)} {_graph(fact)} .\n" for triple in _of(fact))


def _of(fact: Fact) -> Iterator[tuple[str, str, str]]:
    head, relation, tail = _key("entity", fact.head), _key("relation", fact.relation), _key("entity", fact.tail)
    statement = _named("statement", identify(fact.head, fact.relation, fact.tail))
    yield head, relation, tail
    yield statement, f"<{RDF}type>", f"<{RDF}Statement>"
    for name, part in (("subject", head), ("predicate", relation), ("object", tail)):
        yield statement, f"<{RDF}{name}>", part
    if fact.model is not None:
        yield statement, f"<{PROV}wasDerivedFrom>", _graph(fact)
    if fact.reviewer is not None:
        yield statement, f"<{PROV}wasAttributedTo>", _named("reviewer", fact.reviewer)
    if fact.at is not None:
        yield statement, f"<{PROV}generatedAtTime>", _literal(fact.at, "dateTime")
    if fact.probability is not None:
        yield statement, f"<{OWN}probability>", _literal(repr(fact.probability), "double")
    if fact.note is not None:
        yield statement, f"<{RDFS_COMMENT}>", _literal(fact.note)


def _graph(fact: Fact) -> str:
    """The named graph: the model that proposed the fact, or the reviewers who stated it themselves."""
    if fact.model is None:
        return f"<{OWN}reviewers>"
    return f"<{OWN}model:{_quoted(fact.model)}:{_quoted(fact.version or '')}>"


def _key(kind: str, key: str) -> str:
    bare = key[1:-1] if key.startswith("<") and key.endswith(">") else key
    return f"<{bare}>" if IRI.fullmatch(bare) else _named(kind, key)


def _named(kind: str, name: str) -> str:
    return f"<{OWN}{kind}:{_quoted(name)}>"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _literal(text: str, kind: str | None = None) -> str:
    clean = text.encode("utf-8", "replace").decode()
    escaped = "".join(ESCAPED.get(one) or (f"\\u{ord(one):04X}" if ord(one) < 32 else one) for one in clean)
    return f'"{escaped}"' + (f"^^<{XSD}{kind}>" if kind else "")
