"""What reviewers have decided on a model's proposals, by key."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmkgc.serving.review.decisions import Decisions, Status, Triple


@dataclass(frozen=True)
class Decided:
    """The triples (head, relation, tail) that were accepted, and those that were rejected."""

    accepted: Sequence[Triple] = ()
    rejected: Sequence[Triple] = ()

    @classmethod
    def of_model(cls, name: str) -> "Decided":
        """The decisions under ``$MMKGC_HOME``; none where there is no file of them."""
        return cls.of(Decisions.of_model(name))

    @classmethod
    def of(cls, decisions: Decisions) -> "Decided":
        """The latest decision on each triple."""
        log = decisions.refresh()
        accepted, rejected = (
            [triple for triple in sorted(log.latest) if log.status(triple) is status]
            for status in (Status.ACCEPTED, Status.REJECTED)
        )
        return cls(accepted, rejected)

    @property
    def counts(self) -> dict[str, int]:
        """How many were accepted and rejected."""
        return {"accepted": len(self.accepted), "rejected": len(self.rejected)}

    def as_json(self) -> list[list[Triple]]:
        """A JSON value that is equal for equal decisions."""
        return [sorted(self.accepted), sorted(self.rejected)]


NOTHING_DECIDED = Decided()
