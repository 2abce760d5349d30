"""Regularizers, one a file."""

from components.kge.registry import Registry
from components.kge.regularizers.base import Regularizer

REGULARIZERS = Registry("regularizer", Regularizer, __name__)
