"""Listing of all parts that a recipe can name."""

from mmkgc.components.kge.entity_encoders import ENTITY_ENCODERS
from mmkgc.components.kge.fusions import FUSIONS
from mmkgc.components.kge.interactions import INTERACTIONS
from mmkgc.components.kge.losses import LOSSES
from mmkgc.components.kge.negatives import SAMPLERS
from mmkgc.components.kge.regularizers import REGULARIZERS
from mmkgc.components.runtime.plugins import Entry


def listing() -> dict[str, list[Entry]]:
    """Entries (name, summary, hyper-parameters with defaults) by kind."""
    registries = (ENTITY_ENCODERS, INTERACTIONS, FUSIONS, SAMPLERS, LOSSES, REGULARIZERS)
    return {registry.kind: registry.entries() for registry in registries}
