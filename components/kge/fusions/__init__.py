"""Fusions: how the modality vectors of two entities become a triple's score, one a file."""

from components.kge.fusions.base import Fusion
from components.kge.registry import Registry

FUSIONS = Registry("fusion", Fusion, __name__)
