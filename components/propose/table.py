"""Proposals as table rows: triple, score, probability and evidence."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import Vocabulary
from mmkgc.components.propose.chances import Candidates, Chances
from mmkgc.components.propose.scan import PROPOSALS, Lists
from mmkgc.components.runtime.progress import track
from mmkgc.serving.engine.explain import Evidence
from mmkgc.serving.review.identity import identify
from mmkgc.serving.review.proposals import SCHEMA

ROWS_AT_ONCE = 256


def rows(
    bundle: Bundle, found: Mapping[int, Lists], chances: Chances | None, support: int, made_by: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """One row per proposal, relation by relation, with ``support`` similar train triples each."""
    evidence = Evidence(bundle)
    for relation, lists in track(found.items(), "evidence", len(found), "relation"):
        best = lists[PROPOSALS]
        candidates = Candidates.of({relation: best})
        triples = candidates.triples
        likely = [None] * len(triples) if chances is None else chances(candidates).tolist()
        for start in range(0, len(triples), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            reasons = _reasons(bundle, evidence, triples[part], support)
            values = zip(triples[part].tolist(), best.scores[part].tolist(), likely[part], reasons, strict=True)
            for rank, (triple, score, chance, reason) in enumerate(values, start + 1):
                labels = _labels(bundle, *triple)
                figures = {"rank": rank, "score": score, "probability": chance}
                identity = {"id": identify(labels["head"], labels["relation"], labels["tail"])}
                yield identity | labels | figures | reason | made_by


def table(rows: Iterator[dict[str, Any]]) -> pa.Table:
    """The rows as a table, best first; equal scores keep the order of the relations and their ranks."""
    unsorted = pa.Table.from_pylist(list(rows), schema=SCHEMA)
    order = [("score", "descending"), ("relation", "ascending"), ("rank", "ascending")]
    return unsorted.sort_by(order)


def _labels(bundle: Bundle, head: int, relation: int, tail: int) -> dict[str, str]:
    return (
        _label("head", bundle.entities, head)
        | _label("relation", bundle.relations, relation)
        | _label("tail", bundle.entities, tail)
    )


def _label(part: str, vocabulary: Vocabulary, index: int) -> dict[str, str]:
    return {part: vocabulary.keys[index], f"{part}_name": vocabulary.names[index]}


@torch.inference_mode()
def _reasons(bundle: Bundle, evidence: Evidence, triples: Tensor, support: int) -> list[dict[str, Any]]:
    """Modality weights (if the fusion has them) and similar train triples."""
    shares = bundle.model.modality_weights(triples)
    near = evidence.nearest_all(triples, support)
    return [
        {
            "shares": shares and {modality: share[row].item() for modality, share in shares.items()},
            "support": [
                _label("head", bundle.entities, head) | _label("tail", bundle.entities, tail)
                for head, _, tail in near[row].tolist()
            ],
        }
        for row in range(len(triples))
    ]
