"""Negative-sampling strategies: which entities, real or virtual, corrupt a batch? One a file."""

from components.kge.negatives.base import Strategy
from components.kge.registry import Registry

STRATEGIES = Registry("strategy", Strategy, __name__)
