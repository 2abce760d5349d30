"""Negative samplers: which entities, real or generated, corrupt a batch? One a file."""

from mmkgc.components.kge.negatives.base import NegativeSampler
from mmkgc.components.runtime.plugins import Registry

SAMPLERS = Registry("sampler", NegativeSampler, __name__)
