r"""Accepted facts as Cypher for Neo4j: entities are merged by ``key``, and relationships carry the provenance.

Strings and names are escaped so that no key can end them. Neo4j up to version 4 replaced ``\uXXXX`` before it read
anything else, also in ``\\uXXXX``; version 5 replaces it within a literal. What is written here means the same in both.
"""

from collections.abc import Iterable, Iterator

from mmkgc.serving.review.formats.fact import Fact

LABEL = "Entity"
SIMPLE = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def write(facts: Iterable[Fact]) -> Iterator[str]:
    """A constraint on keys, then one statement a fact, each on one line."""
    yield f"CREATE CONSTRAINT mmkgc_key IF NOT EXISTS FOR (e:{LABEL}) REQUIRE e.key IS UNIQUE;\n"
    for fact in facts:
        told = {
            name: string(value)
            for name, value in (
                ("model", fact.model),
                ("version", fact.version),
                ("bundle", fact.bundle),
                ("reviewer", fact.reviewer),
                ("note", fact.note),
                ("at", fact.at),
            )
            if value is not None
        }
        if fact.probability is not None:
            told["probability"] = repr(fact.probability)
        changes = ", ".join(f"r.{name} = {value}" for name, value in told.items())
        yield (
            f"MERGE (h:{LABEL} {{key: {string(fact.head)}}}) MERGE (t:{LABEL} {{key: {string(fact.tail)}}}) "
            f"MERGE (h)-[r:{name_of(fact.relation)}]->(t)" + (f" SET {changes}" if changes else "") + ";\n"
        )


def string(text: str) -> str:
    """A string literal of any text."""
    written = "".join(SIMPLE.get(one) or (_unicode(one) if _is_special(one) else one) for one in _clean(text))
    return "'" + written.replace("\\\\u", "\\\\\\u0075") + "'"


def name_of(text: str) -> str:
    """A quoted name of any text that is not empty."""
    written = "".join(_unicode(one) if one == "\\" or _is_special(one) else one for one in _clean(text))
    written = written.replace("`", "``")
    return f"`{written}`"


def _is_special(one: str) -> bool:
    return ord(one) < 32 or one in "\x7f\x85\u2028\u2029"


def _unicode(one: str) -> str:
    return f"\\u{ord(one):04X}"


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
