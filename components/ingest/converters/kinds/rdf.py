"""RDF: N-Triples, N-Quads, Turtle, TriG, N3, RDF/XML and JSON-LD, read as a stream by pyoxigraph."""

import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from mmkgc.components.dataset.modalities.numeric import is_number
from mmkgc.components.ingest.converters.base import Converter, Wishes
from mmkgc.components.ingest.converters.cells import files_of, opened, suffix_of
from mmkgc.components.ingest.converters.draft import UNSPLIT, Draft
from mmkgc.components.ingest.converters.pictures import is_picture
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.extras import required
from mmkgc.components.runtime.nouns import counted
from mmkgc.components.runtime.progress import Meter

if TYPE_CHECKING:
    import pyoxigraph

SUFFIXES = {
    ".nt": "nt", ".ntriples": "nt", ".nq": "nq", ".ttl": "ttl", ".turtle": "ttl", ".trig": "trig", ".n3": "n3",
    ".rdf": "rdf", ".owl": "rdf", ".jsonld": "jsonld",
}  # fmt: skip
"""Suffix of a file, and the one by which pyoxigraph knows its format."""
RDF_NS = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
RDFS = "http://www.w3.org/2000/01/rdf-schema#"
OWL = "http://www.w3.org/2002/07/owl#"
SKOS = "http://www.w3.org/2004/02/skos/core#"
FOAF = "http://xmlns.com/foaf/0.1/"
DCT, DC = "http://purl.org/dc/terms/", "http://purl.org/dc/elements/1.1/"
SCHEMA = ("http://schema.org/", "https://schema.org/")
DBO = "http://dbpedia.org/ontology/"
WIKIDATA = "http://www.wikidata.org/prop/direct/"
TYPE = f"{RDF_NS}type"
NAMES = [f"{SKOS}prefLabel", f"{RDFS}label", *(f"{s}name" for s in SCHEMA), f"{FOAF}name", f"{DCT}title", f"{DC}title"]
"""Predicates of names, the preferred one first."""
TEXTS = {
    f"{RDFS}comment", f"{DBO}abstract", f"{SKOS}definition", f"{DCT}description", f"{DC}description", f"{DCT}abstract",
    *(f"{s}description" for s in SCHEMA), *(f"{s}abstract" for s in SCHEMA),
}  # fmt: skip
PICTURES = {
    f"{FOAF}depiction", f"{FOAF}img", f"{FOAF}thumbnail", f"{FOAF}logo", f"{DBO}thumbnail", f"{WIKIDATA}P18",
    *(f"{s}{name}" for s in SCHEMA for name in ("image", "thumbnailUrl", "logo", "photo")),
}  # fmt: skip
SCHEMATIC = (OWL, f"{RDFS}domain", f"{RDFS}range", f"{RDFS}isDefinedBy", f"{RDFS}seeAlso", f"{RDFS}subPropertyOf")
"""Beginnings of predicates that describe the vocabulary, or what is outside the graph."""
LISTS = (f"{RDF_NS}first", f"{RDF_NS}rest")
GENERAL = (OWL, RDFS, RDF_NS, f"{SKOS}Concept")
"""Beginnings of types that say nothing about an entity."""
NUMERIC = re.compile(
    r"http://www\.w3\.org/2001/XMLSchema#(?:integer|decimal|double|float|(?:unsigned)?(?:int|long|short|byte|Int|Long|"
    r"Short|Byte)|(?:non)?(?:negative|positive|Negative|Positive)Integer|date|dateTime|gYear|gYearMonth|boolean)"
)
STEP = 1000  # triples between two updates of the progress


class RDF(Converter):
    """A file of RDF, or a folder of such files, packed or not."""

    rank = 10
    needs = "RDF (.nt, .nq, .ttl, .trig, .n3, .rdf, .owl, .jsonld, each also .gz, .bz2 or .zst)"

    def recognises(self, source: Path, wishes: Wishes) -> bool:
        """Whether there is a file with a suffix of RDF."""
        return bool(files_of(source, SUFFIXES))

    def read(self, source: Path, wishes: Wishes, name: str) -> Draft:
        """Read every file once; memory grows with the vocabulary, and by 12 bytes a triple."""
        reading = _Reading(source if source.is_dir() else source.parent, wishes.language)
        for path in files_of(source, SUFFIXES):
            reading.file(path)
        draft = reading.draft(Draft(name, str(source)))
        if not len(draft.triples(UNSPLIT)):
            raise UserError(
                source, "no statement of it relates two resources", "give a graph of facts, not a vocabulary"
            )
        return draft


class _Labels:
    """The best label of each resource: in the wished language, else in English, else in none, else any."""

    def __init__(self, language: str) -> None:
        self.wished = language.lower()
        self.found: dict[str, tuple[tuple[int, int], str]] = {}

    def add(self, resource: str, literal: "pyoxigraph.Literal", place: int = 0) -> None:
        """Keep the label if it is better than the one before; ``place`` orders predicates, the best one is 0."""
        language = (literal.language or "").lower()
        order = (self.wished, "en", "")
        rank = next((at for at, one in enumerate(order) if language == one or (one and language[:3] == f"{one}-")), 3)
        before = self.found.get(resource)
        if before is None or (rank, place) < before[0]:
            self.found[resource] = (rank, place), literal.value

    def of(self, resource: str) -> str:
        """The label; empty if there is none."""
        return self.found[resource][1] if resource in self.found else ""


class _Reading:
    """Statements as they come: facts go to a draft, what describes a resource is kept by its IRI until the end."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder = folder
        self.facts = Draft("", "")
        self.names, self.texts = _Labels(language), _Labels(language)
        self.types: dict[str, list[str]] = defaultdict(list)
        self.numbers: list[tuple[str, str, str]] = []
        self.pictures: list[tuple[str, str]] = []
        self.prefixes: dict[str, str] = {}
        self.left: Counter[str] = Counter()
        self.ranks = {predicate: place for place, predicate in enumerate(NAMES)}

    def file(self, path: Path) -> None:
        """Read a file. Raises UserError, with the line, for malformed RDF."""
        with required():
            import pyoxigraph
        meter = Meter(f"read {path.name}", None, "triple")
        known = pyoxigraph.RdfFormat.from_extension(SUFFIXES[suffix_of(path)])
        assert known is not None
        base = path.resolve().as_uri()
        with opened(path) as stream:
            try:
                parser = pyoxigraph.parse(cast(IO[bytes], _Bytes(stream)), format=known, base_iri=base)
                for count, quad in enumerate(parser, start=1):
                    self._statement(quad, pyoxigraph)
                    if not count % STEP:
                        meter.advance(STEP)
                self.prefixes |= dict(parser.prefixes)
            except SyntaxError as error:
                line = f", line {error.lineno}" if error.lineno else ""
                raise UserError(
                    f"{path}{line}", f"this is not {known.name} ({error.msg})", "correct the line"
                ) from error
        meter.finish()

    def _statement(self, quad: "pyoxigraph.Quad", ox: Any) -> None:
        subject, predicate, value = quad.subject, quad.predicate.value, quad.object
        if not isinstance(subject, ox.NamedNode):
            self.left["with a blank node as subject"] += 1
        elif isinstance(value, ox.NamedNode):
            self._link(subject.value, predicate, value.value)
        elif isinstance(value, ox.Literal):
            self._literal(subject.value, predicate, value)
        else:
            self.left["with a blank node as object"] += 1

    def _link(self, subject: str, predicate: str, value: str) -> None:
        if predicate == TYPE:
            self.types[subject].append(value)
        elif predicate in PICTURES:
            self.pictures.append((subject, value))
        elif predicate.startswith(SCHEMATIC) or predicate in LISTS:
            self.left["about the vocabulary, or leading out of the graph"] += 1
        else:
            facts = self.facts
            facts.add(UNSPLIT, facts.entity(subject), facts.relation(predicate), facts.entity(value))

    def _literal(self, subject: str, predicate: str, value: "pyoxigraph.Literal") -> None:
        if (place := self.ranks.get(predicate)) is not None:
            self.names.add(subject, value, place)
        elif predicate in TEXTS:
            self.texts.add(subject, value)
        elif predicate in PICTURES or (is_picture(value.value) and not value.language):
            self.pictures.append((subject, value.value))
        elif NUMERIC.fullmatch(value.datatype.value) and (number := _number(value.value)):
            self.numbers.append((subject, predicate, number))
        else:
            self.left["with a text that is no name and no description"] += 1

    def draft(self, draft: Draft) -> Draft:
        """The graph of what was read; resources in no fact are left out."""
        facts, draft.prefixes = self.facts, self.prefixes
        draft.entities, draft.relations = facts.entities, facts.relations
        draft.extend(UNSPLIT, facts.triples(UNSPLIT))
        for key, entity in draft.entities.ids.items():
            if name := self.names.of(key):
                draft.names[entity] = name
            draft.describe(entity, self.texts.of(key))
        for key, relation in draft.relations.ids.items():
            if name := self.names.of(key):
                draft.relation_names[relation] = name
        self._put_types(draft)
        self._put_numbers(draft)
        for subject, place in self.pictures:
            if subject in draft.entities:
                self._put_picture(draft, draft.entities.ids[subject], place)
        for what, count in self.left.items():
            draft.findings.notes.append(f"Left out: {counted(count, 'statement')} {what}.")
        return draft

    def _put_types(self, draft: Draft) -> None:
        """The rarest of an entity's types that at least two entities have: the most specific one."""
        counts = Counter(one for types in self.types.values() for one in set(types))
        for subject, types in self.types.items():
            told = [one for one in types if not one.startswith(GENERAL)] if subject in draft.entities else []
            if told:
                best = min(told, key=lambda one: (counts[one] < 2, counts[one], one))
                draft.types[draft.entities.ids[subject]] = self.names.of(best) or _short(best)

    def _put_numbers(self, draft: Draft) -> None:
        ids = draft.entities.ids
        draft.literals += [
            (ids[subject], self.names.of(predicate) or _short(predicate), number)
            for subject, predicate, number in self.numbers
            if subject in ids
        ]

    def _put_picture(self, draft: Draft, entity: int, place: str) -> None:
        """A file beside the source, or an address."""
        if place.startswith("file:"):
            draft.pictures.setdefault(entity, []).append(Path(unquote(place.removeprefix("file://"))))
        elif "://" in place:
            draft.picture_links.append((entity, place))
        else:
            draft.pictures.setdefault(entity, []).append(self.folder / place)


def _number(text: str) -> str:
    """A number, date or truth value as ``literals.tsv`` takes it; empty for one that it does not take, such as NaN."""
    text = {"true": "1", "false": "0"}.get(text, text.removesuffix("Z"))
    return text if is_number(text) else ""


def _short(iri: str) -> str:
    """The last part of an IRI."""
    return unquote(re.split(r"[/#:]", iri.rstrip("/#"))[-1]) or iri


class _Bytes:
    """A stream of bytes as pyoxigraph reads it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes."""
        return bytes(self.stream.read(size))
