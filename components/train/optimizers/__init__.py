"""Optimisers and learning-rate schedules by name; optimisers of the package's own are one per file."""

from mmkgc.components.train.optimizers.making import make_optimizer, make_schedule

__all__ = ["make_optimizer", "make_schedule"]
