"""Held-out precision: how many held-out triples are proposed if the filter does not know them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mmkgc.components.kge.bundle import Bundle
from mmkgc.components.kge.graph import HEAD, RELATION, TAIL, KnownTriples
from mmkgc.components.propose.best import Best
from mmkgc.components.propose.chances import Candidates
from mmkgc.components.propose.questions import Pairs
from mmkgc.components.propose.scan import HIDDEN, POPULARITY, PROPOSALS, Lists


def hide_and_seek(bundle: Bundle, held_out: Tensor, found: Mapping[int, tuple[Pairs, Lists]]) -> dict[str, Any] | None:
    """Precision of the proposals on the held-out triples ``[T, 3]``, with a filter that knows only train.

    The precision is a lower bound: a true proposal that is in no split counts as wrong. The development split was used
    to choose the epoch. None if there are no held-out triples.
    """
    if not len(held_out):
        return None
    hidden = KnownTriples(held_out, len(bundle.entities), len(bundle.relations))
    rows = {relation: _relation(hidden, pairs, lists) for relation, (pairs, lists) in found.items()}
    total = {name: sum(row[name] for row in rows.values()) for name in ("held_out", "asked_for", "kept", "found")}
    total["popularity_found"] = sum(row["popularity_found"] for row in rows.values())
    kept = max(total["kept"], 1)
    figures = {"precision": total["found"] / kept, "popularity_precision": total["popularity_found"] / kept}
    return total | figures | {"relations": {bundle.relations.keys[relation]: row for relation, row in rows.items()}}


def _relation(hidden: KnownTriples, pairs: Pairs, lists: Lists) -> dict[str, int]:
    mine = hidden.triples[hidden.triples[:, RELATION] == pairs.relation]
    kept = lists[HIDDEN].first(lists[PROPOSALS].budget)
    reached = torch.isin(mine[:, HEAD], pairs.heads) & torch.isin(mine[:, TAIL], pairs.tails)
    return {
        "held_out": len(mine),
        "asked_for": int(reached.sum()),
        "kept": len(kept),
        "found": _found(hidden, pairs, kept),
        "popularity_found": _found(hidden, pairs, lists[POPULARITY]),
    }


def _found(hidden: KnownTriples, pairs: Pairs, best: Best) -> int:
    return int(hidden.contains(Candidates.of({pairs.relation: best}).triples).sum())
