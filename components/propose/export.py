"""Accepted proposals as an increment of the dataset, which the next run's ingest adds to train."""

from collections import Counter
from pathlib import Path
from typing import Any

from mmkgc.components.ingest.increments import CARD, TRIPLES
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, write_json, write_text
from mmkgc.serving.review.decisions import Decisions, Status


def export(decisions: Decisions, folder: Path) -> dict[str, Any]:
    """Write the accepted triples and the models that proposed them into ``folder``; return its card.

    The same decisions give the same bytes. Raises ``UserError`` if no proposal was accepted.
    """
    decisions.refresh()
    accepted = {t: d for t, d in sorted(decisions.latest.items()) if decisions.status(t) is Status.ACCEPTED}
    if not accepted:
        mend = "accept some on the page of `mmkgc serve`"
        raise UserError(decisions.path, "no proposal was accepted there", mend)
    counts = Counter(decisions.status(triple) for triple in decisions.latest)
    sources = {tuple(str(made.get(name)) for name in ("model", "version", "bundle")) for made in accepted.values()}
    card = {
        "accepted": counts[Status.ACCEPTED],
        "rejected": counts[Status.REJECTED],
        "proposed_by": [dict(zip(("model", "version", "bundle"), source, strict=True)) for source in sorted(sources)],
    }
    lines = ["head\trelation\ttail", *("\t".join(triple) for triple in accepted)]
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_text(temporary / TRIPLES, "\n".join(lines) + "\n")
        write_json(temporary / CARD, card)
    return card
