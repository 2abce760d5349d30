"""Early stopping: the best model so far, and when to stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Selection:
    """Progress of a run and the model with the best development MRR so far."""

    patience: int | None
    epoch: int = 0
    best_mrr: float = -1.0
    best_epoch: int = 0
    best_state: dict[str, Tensor] | None = None
    stale: int = 0  # measurements since the best one

    def note(self, value: float, state: Mapping[str, Tensor]) -> None:
        """Take the development MRR after the present epoch into account."""
        self.stale += 1
        if value > self.best_mrr:
            self.best_mrr, self.best_epoch, self.stale = value, self.epoch, 0
            self.best_state = {name: tensor.detach().clone() for name, tensor in state.items()}

    @property
    def gives_up(self) -> bool:
        """Whether the run stops early: the last ``patience`` measurements were no better than the best."""
        return self.patience is not None and self.stale >= self.patience

    def summary(self) -> dict[str, Any]:
        """Facts about the training, for the bundle."""
        best = {"best_epoch": self.best_epoch, "dev_mrr": self.best_mrr} if self.best_state is not None else {}
        return {"epochs": self.epoch, **best}

    def __str__(self) -> str:
        return f"dev MRR {self.best_mrr:.3f}" if self.best_state is not None else ""
