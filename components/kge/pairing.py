"""Which parts of a recipe can work together; what cannot is refused with the reason, before anything runs."""

from collections.abc import Sequence
from typing import Any

from components.kge.entities import STRUCTURE
from components.kge.fusions import FUSIONS
from components.kge.fusions.base import Space
from components.kge.interactions import INTERACTIONS
from components.kge.model import ModelConfig
from components.kge.negatives import STRATEGIES
from components.kge.objectives import OBJECTIVES
from components.kge.objectives.base import AllEntityObjective


def refusal(
    config: ModelConfig, modalities: Sequence[str], strategy: dict[str, Any] | None, objective: dict[str, Any]
) -> str | None:
    """Why the parts cannot work together, given the modalities that have features; None where they can."""
    interaction = INTERACTIONS.create(config.interaction)
    space = Space((STRUCTURE, *modalities), interaction.entity_width(config.dimension), n_relations=1)
    try:
        fusion = FUSIONS.create(config.fusion, space)
    except ValueError as error:
        return str(error)
    if getattr(OBJECTIVES.lookup(objective["name"]), "graded", False):
        return f"objective '{objective['name']}' grades negatives by levels that 'dhns' brings along; name another one"
    compares_with_all = issubclass(OBJECTIVES.lookup(objective["name"]), AllEntityObjective)
    if strategy is None:
        return (
            None if compares_with_all else f"objective '{objective['name']}' needs a strategy; name one in `negatives`"
        )
    if compares_with_all:
        return (
            f"objective '{objective['name']}' compares with every entity, so strategy '{strategy['name']}' has nothing "
            "to choose; leave `negatives` out, or take an objective over negatives"
        )
    reason = STRATEGIES.lookup(strategy["name"]).refusal(fusion, interaction)
    return f"strategy '{strategy['name']}' cannot work here: {reason}" if reason else None
