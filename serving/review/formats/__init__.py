"""Accepted facts with their provenance, in the formats of the systems that hold knowledge graphs."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from mmkgc.serving.review.formats import csv, cypher, nquads
from mmkgc.serving.review.formats.fact import Fact


class Format(NamedTuple):
    """How accepted facts are written: ``write`` gives the parts of a file with this ``ending``."""

    ending: str
    media_type: str
    write: Callable[[Iterable[Fact]], Iterator[str]]


FORMATS = {
    "csv": Format("csv", "text/csv", csv.write),
    "nquads": Format("nq", "application/n-quads", nquads.write),
    "cypher": Format("cypher", "text/plain", cypher.write),
}
"""``nquads``: RDF, a named graph with reified statements; ``cypher``: statements for Neo4j."""
