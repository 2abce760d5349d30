"""What a user is told about a dataset that was accepted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmkgc.components.runtime.errors import shown

SHOWN = 3


@dataclass
class Findings:
    """What the user is told about an accepted dataset: ``notes`` say what was done, ``warnings`` what is amiss."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unusable_files: list[str] = field(default_factory=list)

    def warn_of(self, what: str, items: Sequence[str]) -> None:
        """One warning for all ``items``: how many, and the first few."""
        if items:
            more = ", …" if len(items) > SHOWN else ""
            self.warnings.append(f"{what}: {len(items)} ({', '.join(map(shown, items[:SHOWN]))}{more})")
