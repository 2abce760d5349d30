"""Entity encoders, which map entity ids to one embedding per modality; one per file."""

from mmkgc.components.kge.entity_encoders.base import EntityEncoder
from mmkgc.components.runtime.plugins import Registry

ENTITY_ENCODERS = Registry("entity encoder", EntityEncoder, __name__)
