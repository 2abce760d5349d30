"""Interactions: the raw plausibility of (head, relation, tail) vectors, one per file."""

from mmkgc.components.kge.interactions.base import Interaction
from mmkgc.components.runtime.plugins import Registry

INTERACTIONS = Registry("interaction", Interaction, __name__)
