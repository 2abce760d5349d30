"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """θ̄ ← decay · θ̄ + (1 − decay) · θ after every step; the averages are what is evaluated and kept."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the averages with the model's current weights."""
        for name, weight in model.named_parameters():
            self.weights[name].lerp_(weight, 1 - self.decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with averaged weights, for the duration of a ``with`` block."""
        own = {name: weight.detach().clone() for name, weight in model.named_parameters()}
        model.load_state_dict(self.weights, strict=False)
        try:
            yield
        finally:
            model.load_state_dict(own, strict=False)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages."""
        return self.weights

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore saved averages."""
        self.weights = state
