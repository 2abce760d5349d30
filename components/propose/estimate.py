"""Fits the probabilities of proposals on the facts that were hidden and on what reviewers have decided."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples
from mmkgc.components.propose.chances import Candidates, Chances, reliability
from mmkgc.components.propose.questions import Pairs
from mmkgc.components.propose.scan import HIDDEN, Lists, Scan

BATCH = 256


def estimate(
    scan: Scan,
    bundle: Bundle,
    found: Mapping[int, tuple[Pairs, Lists]],
    reviewed: Mapping[bool, Tensor],
    missing: float,
) -> tuple[Chances | None, dict[str, Any] | None]:
    """The probabilities, and how reliable they are; None for both where no fact was held out.

    ``reviewed``: triples ``[L, 3]`` that were accepted (True) and rejected (False). ``missing``: the share of its facts
    that the graph is thought to lack.
    """
    candidates = Candidates.of({relation: lists[HIDDEN] for relation, (_, lists) in found.items()})
    if not len(scan.held_out) or not len(candidates):
        return None, None
    hidden = KnownTriples(scan.held_out, len(bundle.entities), len(bundle.relations))
    right = hidden.contains(candidates.triples)
    degrees = torch.bincount(bundle.train[:, [HEAD, TAIL]].flatten(), minlength=len(bundle.entities))
    sizes = degrees, len(bundle.relations)
    lacking = len(hidden) / (len(hidden) + len(scan.train))
    chances = Chances(candidates, right, *sizes, lacking, missing)
    decided, accepted = _decided(scan, {relation: pairs for relation, (pairs, _) in found.items()}, reviewed)
    if len(decided):
        chances.learn(decided, accepted)
    return chances, reliability(candidates, right, *sizes)


def _decided(scan: Scan, pairs: Mapping[int, Pairs], reviewed: Mapping[bool, Tensor]) -> tuple[Candidates, Tensor]:
    """The reviewed triples of relations that are asked for, as candidates, and which were accepted."""
    triples = torch.cat([reviewed[True], reviewed[False]])
    accepted = torch.arange(len(triples)) < len(reviewed[True])
    parts = []
    for relation, of_relation in pairs.items():
        rows = (triples[:, RELATION] == relation).nonzero().squeeze(1)
        if len(rows) and len(of_relation):
            parts += [(batch, *scan.margins(triples[batch], of_relation)) for batch in rows.split(BATCH)]
    if not parts:
        return Candidates(triples[:0], torch.empty(0), torch.empty(0)), accepted[:0]
    rows, scores, margins = (torch.cat(column) for column in zip(*parts, strict=True))
    return Candidates(triples[rows], scores, margins), accepted[rows]
