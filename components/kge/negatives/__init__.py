"""Negative samplers, which choose the entities that corrupt a batch; one per file."""

from mmkgc.components.kge.negatives.base import NegativeSampler
from mmkgc.components.runtime.plugins import Registry

SAMPLERS = Registry("sampler", NegativeSampler, __name__)
