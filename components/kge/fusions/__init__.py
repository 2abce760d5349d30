"""Fusions, which turn the modality vectors of two entities into the score of a triple; one per file."""

from mmkgc.components.kge.fusions.base import Fusion
from mmkgc.components.runtime.plugins import Registry

FUSIONS = Registry("fusion", Fusion, __name__)
