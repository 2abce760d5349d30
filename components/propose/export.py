"""Reviewers' decisions as an increment of the dataset, for the next run: accepted triples join train, rejected ones are
known to be false.
"""

from pathlib import Path
from typing import Any

from mmkgc.components.dataset.readers.folder import NEGATIVES
from mmkgc.components.ingest.increments import CARD, TRIPLES
from mmkgc.components.runtime.errors import UserError
from mmkgc.components.runtime.files import atomic_path, write_json, write_text
from mmkgc.serving.review.decisions import Decisions, Status, Triple
from mmkgc.serving.review.formats import FORMATS
from mmkgc.serving.review.formats.fact import accepted as accepted_facts


def export(decisions: Decisions, folder: Path) -> dict[str, Any]:
    """Write the accepted and the rejected triples, and the models that proposed them, into ``folder``; return its card.

    The same decisions give the same bytes. Raises ``UserError`` if no proposal was accepted or rejected.
    """
    accepted, rejected = decided(decisions, Status.ACCEPTED), decided(decisions, Status.REJECTED)
    if not accepted and not rejected:
        mend = "decide some on the page of `mmkgc serve`"
        raise UserError(decisions.path, "no proposal was accepted or rejected there", mend)
    made_by = [*accepted.values(), *rejected.values()]
    sources = {tuple(str(made.get(name)) for name in ("model", "version", "bundle")) for made in made_by}
    card = {
        "accepted": len(accepted),
        "rejected": len(rejected),
        "proposed_by": [dict(zip(("model", "version", "bundle"), source, strict=True)) for source in sorted(sources)],
    }
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, triples in ((TRIPLES, accepted), (NEGATIVES, rejected)):
            lines = ["head\trelation\ttail", *("\t".join(triple) for triple in triples)]
            write_text(temporary / name, "\n".join(lines) + "\n")
        write_json(temporary / CARD, card)
    return card


def export_facts(decisions: Decisions, form: str, path: Path | None) -> tuple[int, Path]:
    """Write the accepted facts in a format of ``FORMATS`` to ``path`` (default: ``accepted`` with its ending).

    Returns their number and the path. Raises ``UserError`` if none was accepted.
    """
    facts = accepted_facts(decisions)
    if not facts:
        mend = "accept some on the page of `mmkgc serve`"
        raise UserError(decisions.path, "no proposal was accepted there", mend)
    path = path or Path(f"accepted.{FORMATS[form].ending}")
    write_text(path, "".join(FORMATS[form].write(facts)))
    return len(facts), path


def decided(decisions: Decisions, status: Status) -> dict[Triple, dict[str, Any]]:
    """The triples of a status, in order, with the latest decision on each."""
    decisions.refresh()
    return {triple: made for triple, made in sorted(decisions.latest.items()) if decisions.status(triple) is status}
