"""Objectives: what training minimises, one a file."""

from mmkgc.components.kge.losses.base import Loss
from mmkgc.components.runtime.plugins import Registry

LOSSES = Registry("loss", Loss, __name__)
