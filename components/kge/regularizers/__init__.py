"""Regularizers, one per file."""

from mmkgc.components.kge.regularizers.base import Regularizer
from mmkgc.components.runtime.plugins import Registry

REGULARIZERS = Registry("regularizer", Regularizer, __name__)
