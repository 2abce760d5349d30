"""Fusions: how the modality vectors of two entities become a triple's score, one a file."""

from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.runtime.plugins import Registry

FUSIONS = Registry("fusion", Fusion, __name__)
