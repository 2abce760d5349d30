"""An accepted fact and where it comes from."""

from dataclasses import dataclass
from typing import Any

from mmkgc.serving.review.decisions import Decisions, Status


@dataclass(frozen=True)
class Fact:
    """A triple of keys, and who proposed and accepted it; what is not known is None.

    ``probability`` is the one that the reviewer saw; ``reviewer`` the name that was given, or the number of the API
    key.
    """

    head: str
    relation: str
    tail: str
    model: str | None = None
    version: str | None = None
    bundle: str | None = None
    probability: float | None = None
    reviewer: str | None = None
    note: str | None = None
    at: str | None = None

    @classmethod
    def of(cls, decision: dict[str, Any]) -> "Fact":
        """The fact of a line of the log of decisions."""
        by = decision.get("by")
        if by is None and decision.get("reviewer") is not None:
            by = f"API key {decision['reviewer']}"
        chance = decision.get("probability")
        return cls(
            head=decision["head"],
            relation=decision["relation"],
            tail=decision["tail"],
            model=_text(decision.get("model")),
            version=_text(decision.get("version")),
            bundle=_text(decision.get("bundle")),
            probability=float(chance) if isinstance(chance, int | float) else None,
            reviewer=_text(by),
            note=_text(decision.get("note")),
            at=_text(decision.get("at")),
        )


def accepted(decisions: Decisions) -> list[Fact]:
    """The accepted facts, in the order of their keys; the same decisions give the same list."""
    decisions.refresh()
    found = sorted(triple for triple in decisions.latest if decisions.status(triple) is Status.ACCEPTED)
    return [Fact.of(decisions.latest[triple]) for triple in found]


def _text(value: Any) -> str | None:
    return None if value is None or value == "" else str(value)
