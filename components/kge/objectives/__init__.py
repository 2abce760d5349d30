"""Objectives: what training minimises, one a file."""

from components.kge.objectives.base import Objective
from components.kge.registry import Registry

OBJECTIVES = Registry("objective", Objective, __name__)
