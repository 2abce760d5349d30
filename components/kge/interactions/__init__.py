"""Interactions: the raw plausibility of (head, relation, tail) vectors, one a file."""

from components.kge.interactions.base import Interaction
from components.kge.registry import Registry

INTERACTIONS = Registry("interaction", Interaction, __name__)
