"""Answers completion queries with a bundle. All serving code scores through this engine."""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import RELATION
from mmkgc.components.kge.kernels import comparison
from mmkgc.serving.api.protocol import Direction, ErrorCode, QueryError
from mmkgc.serving.engine.answers import Writer
from mmkgc.serving.engine.descriptions import FILE as DESCRIPTIONS
from mmkgc.serving.engine.descriptions import Descriptions
from mmkgc.serving.engine.index import Index
from mmkgc.serving.engine.lookup import Catalog
from mmkgc.serving.engine.ranking import best, margins, marked
from mmkgc.serving.engine.resolve import Kind, Resolved, Resolver
from mmkgc.serving.engine.scoring import SIDES, Candidates, Piece, Scorer
from mmkgc.serving.engine.tables import FILE as TABLES
from mmkgc.serving.engine.tables import read_tables
from mmkgc.serving.engine.thumbnails import FILE as THUMBNAILS
from mmkgc.serving.engine.thumbnails import Thumbnails

SUGGESTED = 16  # failed queries of a batch that get suggestions: each compares all names, which is slow


@dataclass
class Report:
    """Metrics of one batch: counts, and seconds per stage."""

    queries: Counter[tuple[str, str]] = field(default_factory=Counter)  # (direction, status)
    unseen: Counter[str] = field(default_factory=Counter)  # modalities of new entities: "textual", "textual+visual"
    missing: Counter[str] = field(default_factory=Counter)  # modalities that known entities of queries lack
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, later: "Report") -> None:
        """Add the counts of ``later``, and replace the seconds per stage by its seconds."""
        self.queries += later.queries
        self.unseen += later.unseen
        self.missing += later.missing
        self.seconds = later.seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of the block to the stage ``name``."""
        begun = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - begun


class Engine:
    """A loaded model that answers batches of queries (``mmkgc.serving.api.protocol``); read-only once constructed."""

    def __init__(self, bundle: Bundle, name: str = "mmkgc", version: str = "local", extras: Path | None = None) -> None:
        """``extras``: the folder of the files that the package step adds to a bundle: tables, index, thumbnails."""
        self.bundle, self.name, self.version = bundle, name, version
        tables = read_tables(extras / TABLES, bundle.model) if extras else None
        index = Index.load(extras, bundle.model) if extras else None
        self.resolver, self.scorer = Resolver(bundle), Scorer(bundle, tables, index)
        self.writer = Writer(bundle, self.resolver)
        self.catalog = Catalog(
            bundle,
            self.resolver,
            Thumbnails(extras and extras / THUMBNAILS),
            index.info if index else None,
            Descriptions(extras and extras / DESCRIPTIONS),
        )

    @classmethod
    def load(cls, folder: Path, name: str = "mmkgc", version: str = "local") -> Self:
        """The engine of a bundle folder."""
        return cls(Bundle.load(folder), name, version, folder)

    @torch.inference_mode()
    def answer(
        self, queries: Sequence[Any], report: Report | None = None, within: float = math.inf
    ) -> list[dict[str, Any]]:
        """Answer queries: one answer each, in order, as the JSON of a ``Completion``, a ``Scored`` or a ``Failed``.

        Queries that are not started ``within`` this many seconds fail.
        """
        report = report or Report()
        deadline = time.monotonic() + within
        answers: list[dict[str, Any]] = [{}] * len(queries)
        resolved: list[Resolved] = []
        with report.stage("resolve"):
            for place, value in enumerate(queries):
                try:
                    suggest = place - len(resolved) < SUGGESTED
                    resolved.append(self.resolver.resolve(place, value, suggest))
                except QueryError as error:
                    answers[place] = error.as_answer()
                    report.queries["unknown", error.code.value] += 1
        for piece in self.scorer.pieces(resolved):
            if time.monotonic() > deadline:
                self._give_up(piece, answers, report)
                continue
            for query, answer in self._answered(piece, report):
                answers[query.place] = answer
        return answers

    def warm_up(self) -> None:
        """Answer queries of each direction, singly and batched, before the first request.

        That compiles all kernels, makes what explanations compare the triples of a frequent relation by, and reads the
        vectors of all entities from their file, whose pages each query would otherwise wait for.
        """
        encoded, terms = self.scorer.model.everyone(), self.scorer.model.fusion.terms
        for name in {view for term in terms for view in (term.head, term.tail)} & encoded.views.keys():
            encoded.views[name].sum()
        triples = self.bundle.known.triples
        frequent = triples[:, RELATION] == triples[:, RELATION].mode().values
        head, relation, tail = triples[frequent][0].tolist()
        entities, relations = self.bundle.entities.keys, self.bundle.relations.keys
        parts = {"head": entities[head], "relation": relations[relation], "tail": entities[tail]}
        queries = [parts, *({**parts, part: None} for part in parts)]
        self.answer([{**query, "explain": True} for query in queries])
        self.answer(queries * comparison.MANY)

    def _answered(self, piece: Piece, report: Report) -> Iterator[tuple[Resolved, dict[str, Any]]]:
        unseen = {}
        for kind, group in piece.items():
            if kind.unseen_part is not None:
                with report.stage("encode"):
                    unseen[kind] = self.resolver.unseen.modal([query.unseen or {} for query in group])
        with report.stage("score"):
            found = self.scorer.candidates(piece, unseen)
        for kind, group in piece.items():
            self._count(kind, group, report)
            yield from zip(group, self._written(kind, group, found[kind], report), strict=True)

    def _give_up(self, piece: Piece, answers: list[dict[str, Any]], report: Report) -> None:
        late = QueryError(ErrorCode.OUT_OF_TIME, "there was no time left for this query; ask less at once")
        for query in (query for group in piece.values() for query in group):
            answers[query.place] = late.as_answer()
            report.queries["unknown", late.code.value] += 1

    def _written(
        self, kind: Kind, group: Sequence[Resolved], found: Candidates, report: Report
    ) -> list[dict[str, Any]]:
        """Answers of the best candidates."""
        with report.stage("rank"):
            triple = kind.direction is Direction.TRIPLE
            columns = np.zeros((len(group), 1), int) if triple else best(found.scores, found.known, group)
        with report.stage("format"):
            chosen = np.take_along_axis(found.scores, columns, axis=1)
            known = marked(columns, found.known, found.scores.shape[1])
            ahead = margins(found.scores, found.known, chosen, known) if kind.direction in SIDES else None
            return self.writer.write(kind, group, found.at(columns), chosen, known, ahead)

    def _count(self, kind: Kind, group: Sequence[Resolved], report: Report) -> None:
        report.queries[kind.direction.value, "ok"] += len(group)
        if kind.unseen_part is not None:
            report.unseen["+".join(kind.modalities)] += len(group)
        for part in ("head", "tail"):
            ids = [getattr(query, part) for query in group if getattr(query, part) is not None]
            for modality, lacking in self.scorer.lacking(ids).items():
                report.missing[modality] += lacking
