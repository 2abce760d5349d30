"""Messages to the user about an accepted dataset."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mmkgc.components.runtime.errors import shown

SHOWN = 3


@dataclass
class Findings:
    """Messages about an accepted dataset: ``notes`` describe what was done, ``warnings`` describe problems."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unusable_files: list[str] = field(default_factory=list)

    def warn_of(self, what: str, items: Sequence[str]) -> None:
        """Add one warning for all ``items``: their number and the first few."""
        if items:
            more = ", …" if len(items) > SHOWN else ""
            self.warnings.append(f"{what}: {len(items)} ({', '.join(map(shown, items[:SHOWN]))}{more})")
