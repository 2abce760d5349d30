"""Everything that a recipe can name, for listings."""

from components.kge.fusions import FUSIONS
from components.kge.interactions import INTERACTIONS
from components.kge.negatives import STRATEGIES
from components.kge.objectives import OBJECTIVES
from components.kge.registry import Entry
from components.kge.regularizers import REGULARIZERS


def catalog() -> dict[str, list[Entry]]:
    """Entries (name, summary, hyper-parameters with defaults) by kind."""
    registries = (INTERACTIONS, FUSIONS, STRATEGIES, OBJECTIVES, REGULARIZERS)
    return {registry.kind: registry.entries() for registry in registries}
