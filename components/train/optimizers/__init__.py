"""Optimisers and learning-rate schedules by name; optimisers of the package's own are one per file."""

from mmkgc.components.train.optimizers.making import make_optimizer, make_schedule
from mmkgc.components.train.optimizers.squares import go_on_with, squares_of

__all__ = ["go_on_with", "make_optimizer", "make_schedule", "squares_of"]
