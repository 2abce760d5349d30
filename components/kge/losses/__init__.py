"""Losses, which training minimises; one per file."""

from mmkgc.components.kge.losses.base import Loss
from mmkgc.components.runtime.plugins import Registry

LOSSES = Registry("loss", Loss, __name__)
